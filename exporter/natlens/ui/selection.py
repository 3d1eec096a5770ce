"""Which records are in metrics: ``metrics_include`` and ``metrics_exclude`` as they act upon written records.

:mod:`natlens.otlp.metrics.filters` is the same on columns, and refuses what is no term.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import translate
from ipaddress import ip_address, ip_network

from natlens.ui.records import Value

__all__ = ["Selection", "answered"]

Attributes = Mapping[str, Value]
Look = Callable[[Attributes, str], bool]
RESPONDER = "responder"
ENDS = ("source", "destination", RESPONDER)


def answered(attributes: Attributes) -> str:
    """Return the role of what answered: what the destination became, else the destination."""
    return "destination.nat" if "destination.nat.address" in attributes else "destination"


class Selection:
    """Records like one of ``include`` (all, where that is empty) and like none of ``exclude``."""

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        """Take terms that :func:`~natlens.otlp.metrics.filters.parse_filters` takes."""
        self._include, self._exclude = [_term(text) for text in include], [_term(text) for text in exclude]

    def __call__(self, attributes: Attributes) -> bool:
        """Tell whether a record with these attributes counts."""
        included = not self._include or any(holds(attributes) for holds in self._include)
        return included and not any(holds(attributes) for holds in self._exclude)


def _term(text: str) -> Callable[[Attributes], bool]:
    name, _, value = text.strip().partition("=")
    end, _, what = name.rpartition(".")
    look = LOOKS[what](value)
    ends = (end,) if end else ENDS

    def holds(attributes: Attributes) -> bool:
        return any(look(attributes, answered(attributes) if one == RESPONDER else one) for one in ends)

    return holds


def _namespace(pattern: str) -> Look:
    matches = re.compile(translate(pattern)).match

    def holds(attributes: Attributes, role: str) -> bool:
        name = attributes.get(f"{role}.k8s.namespace.name")
        return isinstance(name, str) and matches(name) is not None

    return holds


def _cidr(text: str) -> Look:
    network = ip_network(text)

    def holds(attributes: Attributes, role: str) -> bool:
        try:
            return ip_address(str(attributes.get(f"{role}.address"))) in network
        except ValueError:
            return False

    return holds


LOOKS: dict[str, Callable[[str], Look]] = {
    "namespace": _namespace,
    "cidr": _cidr,
    "port": lambda text: lambda attributes, role: attributes.get(f"{role}.port") == int(text),
    "kind": lambda text: lambda attributes, role: attributes.get(f"{role}.k8s.object.kind") == text,
}
