"""Untrusted YAML or JSON text to plain documents, without its ways to crash or exhaust a reader."""

from collections.abc import Iterator

import msgspec
import yaml

from natlens.errors import IdentityError

__all__ = ["documents"]

MAX_DEPTH = 100  # libyaml's composer recurses on the C stack: 100,000 open brackets end the process
MAX_NODES = 20_000_000  # with aliases expanded: a few lines can stand for billions
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What PyYAML's constructors let through on wrong tags (`!!bool x`, `!!timestamp x`), beside YAMLError.
MALFORMED = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError, RecursionError)


def documents(text: str, source: str) -> Iterator[tuple[int, object]]:
    """Yield (number from 1, document) of a YAML or JSON text.

    Raises :class:`IdentityError` naming ``source`` and the line of what is malformed.
    """
    if text.lstrip()[:1] == "{":  # one JSON object, fifty times faster than as YAML
        try:
            yield 1, msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            pass
        else:
            return
    try:
        _refuse_bombs(text)
        yield from enumerate(yaml.load_all(text, Loader), 1)
    except MALFORMED as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0] or type(error).__name__
        raise IdentityError(f"{source}{line}: not valid YAML or JSON ({problem}); correct the file") from error


def _refuse_bombs(text: str) -> None:
    """Raise ValueError for nesting or aliases that no manifest needs."""
    sizes: dict[str | None, int] = {}  # nodes under each anchor, aliases expanded
    open_nodes: list[tuple[str | None, int]] = []  # anchor, total when it was opened
    total = 0
    for event in yaml.parse(text, Loader):
        if isinstance(event, yaml.AliasEvent):
            total += sizes.get(event.anchor, 0)
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before
        if len(open_nodes) > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        if total > MAX_NODES:
            raise ValueError(f"more than {MAX_NODES} values once its aliases are expanded")
