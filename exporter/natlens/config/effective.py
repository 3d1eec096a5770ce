"""Effective options as a YAML file, each line saying where its value came from."""

from typing import Any

from natlens.config.describe import describe
from natlens.config.sources import Loaded

__all__ = ["effective"]


def effective(loaded: Loaded[Any]) -> str:
    """Return YAML that loads to the same options; secrets are left out, as comments say."""
    lines = []
    for option in describe(type(loaded.options)):
        value = getattr(loaded.options, option.name)
        origin = loaded.origins[option.name]
        if option.secret and value:
            lines.append(f"# {option.name}: {', '.join(sorted(map(repr, value)))} (values not shown)  # {origin}")
        else:
            lines.append(f"{_yaml(option.name, value)}  # {origin}")
    return "\n".join(lines) + "\n"


def _yaml(name: str, value: object) -> str:
    import yaml  # only who asks pays for it

    style = None if isinstance(value, list | dict) else False  # collections on the key's own line
    return yaml.safe_dump({name: value}, default_flow_style=style, width=1 << 30).rstrip("\n")
