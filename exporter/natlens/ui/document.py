"""docs/configuration.md from the options model: ``python -m natlens.ui.document > docs/configuration.md``."""

import json
import sys

import msgspec

from natlens.config import Option, Options, describe, schema
from natlens.config.describe import amount

__all__ = ["configuration"]

HEAD = """\
<!-- Generated from exporter/natlens/config/options.py by `make docs`; do not edit. -->
# Configuration

Every option can stand in a YAML file (`--config FILE` or `NATLENS_CONFIG`), in a variable and in a flag. A flag wins
over a variable, a variable over the file, the file over the default. An empty variable counts as not set.
`natlens run --print-config` prints the effective options and where each came from; secrets are left out.

Lists in variables and flags are separated by commas, mappings are `name=value,…` with percent-encoded values.
A key, variable or flag that does not exist, or a value that does not fit, ends natlens before anything is attached,
with one line that says what to write instead.

```yaml
# natlens.yaml
interval: 5
exclude_interfaces: [docker0, "cali*"]
endpoint: http://collector:4317
queue_bytes: 128MiB
```
"""


def configuration(model: type[msgspec.Struct] = Options) -> str:
    """Return the document: one row an option, then the JSON schema of the file."""
    rows = "\n".join(_row(option) for option in describe(model))
    text = json.dumps(schema(model), indent=1, ensure_ascii=False)
    return (
        f"{HEAD}\n| file | variable | flag | type | default | meaning |\n|---|---|---|---|---|---|\n{rows}\n\n"
        f"## JSON schema of the file\n\n```json\n{text}\n```\n"
    )


def _row(option: Option) -> str:
    flag = f"{option.flag}`, `--no-{option.flag[2:]}" if option.default is False else option.flag
    cells = (
        f"`{option.name}`",
        f"`{option.variable}`",
        f"`{flag}`",
        option.expected,
        f"`{_default(option)}`" if option.default is not None else "",
        option.description,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(option: Option) -> str:
    value = option.default
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value if isinstance(value, str) else json.dumps(value)
    return amount(value, option.unit)


if __name__ == "__main__":
    sys.stdout.write(configuration())
