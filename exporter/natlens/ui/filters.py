"""Which records a person wants to see."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import translate
from typing import NamedTuple

from natlens.errors import ConfigError
from natlens.ui.records import Record

__all__ = ["Filters"]

ROLES = ("source", "destination", "source.nat", "destination.nat")
PORT = re.compile(r"[0-9?*\[\]!-]+")


class Filters(NamedTuple):
    """Shell patterns; each kind that is given must match at either end, before or after translation.

    ``service`` and ``pod`` match the name, or ``namespace/name`` where the pattern has a slash.
    """

    service: Sequence[str] = ()
    namespace: Sequence[str] = ()
    pod: Sequence[str] = ()
    port: Sequence[str] = ()
    translated_only: bool = False

    def check(self) -> None:
        """Raise :class:`ConfigError` for a pattern that can never match."""
        for pattern in self.port:
            if not PORT.fullmatch(pattern):
                raise ConfigError(f"--port is {pattern!r}; it must be a number such as 8080, or a pattern such as 80*")

    def matches(self, record: Record) -> bool:
        """Tell whether to show ``record``."""
        return (
            (not self.translated_only or "nat.kind" in record.attributes)
            and _any(self.namespace, _texts(record, "k8s.namespace.name"))
            and _any(self.service, _names(record, "k8s.service.name"))
            and _any(self.pod, _names(record, "k8s.pod.name"))
            and _any(self.port, _texts(record, "port"))
        )


def _texts(record: Record, field: str) -> list[str]:
    found = (record.attributes.get(f"{role}.{field}") for role in ROLES)
    return [str(value) for value in found if value is not None]


def _names(record: Record, field: str) -> list[str]:
    """Return each name, alone and with its namespace."""
    names = []
    for role in ROLES:
        name, namespace = (record.attributes.get(f"{role}.{one}") for one in (field, "k8s.namespace.name"))
        if isinstance(name, str):
            names += [name, f"{namespace if isinstance(namespace, str) else ''}/{name}"]
    return names


def _any(patterns: Sequence[str], values: Iterable[str]) -> bool:
    """Tell whether some value matches some pattern; no patterns means no filter."""
    if not patterns:
        return True
    matchers = [re.compile(translate(pattern)) for pattern in patterns]  # cached by re
    return any(matcher.match(value) for value in values for matcher in matchers)
