"""The options file as plain YAML, with the line of each key."""

from pathlib import Path
from typing import TYPE_CHECKING

from natlens.errors import ConfigError

if TYPE_CHECKING:
    import yaml

__all__ = ["read_yaml"]


def read_yaml(path: Path) -> tuple[object, dict[object, int]]:
    """Return the document and the line of each top-level key; raises :class:`ConfigError`."""
    import yaml  # only who has a file pays for it

    text = _read(path)
    # Beside YAMLError: what PyYAML lets through on wrong tags (`!!bool x`, `!!timestamp x`).
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        lines = _lines(path, node) if isinstance(node, yaml.MappingNode) else {}
        return None if node is None else loader.construct_document(node), lines
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise ConfigError(f"{place}: is not valid YAML ({problem}); write 'option: value' lines") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check --config and the file's mode") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is not UTF-8 text; save it as UTF-8") from error


def _lines(path: Path, document: "yaml.MappingNode") -> dict[object, int]:
    lines: dict[object, int] = {}
    for key, _ in document.value:
        line = key.start_mark.line + 1
        if key.value in lines:
            raise ConfigError(
                f"{path}:{line}: {key.value!r} is there twice, first in line {lines[key.value]}; remove one"
            )
        lines[key.value] = line
    return lines
