"""Which labels and annotations are remembered: an object may have 256 KiB of them, and a cluster 100,000 objects."""

from collections.abc import Iterable, Mapping
from sys import intern

from natlens.identity.objects import ZONE
from natlens.identity.selection import cut

__all__ = ["Keep"]

ALWAYS = frozenset({"pod-template-hash", "kubernetes.io/service-name", ZONE})
"""What natlens itself reads: the owner of a pod, the Service of a slice, the zone of a node."""
MOST_KEYS = 64


class Keep:
    """The keys that are wanted, at most 64 of each; the rest of an object's is forgotten."""

    def __init__(self, labels: Iterable[str] = (), annotations: Iterable[str] = ()) -> None:
        self._labels = _keys((*sorted(ALWAYS), *labels))
        self._annotations = _keys(annotations)

    def labels(self, of: Mapping[str, str | None]) -> dict[str, str | None] | None:
        """Return the wanted labels, None if there are none."""
        return _wanted(self._labels, of)

    def annotations(self, of: Mapping[str, str | None]) -> dict[str, str | None] | None:
        """Return the wanted annotations, None if there are none; values are cut at 1 KiB."""
        return _wanted(self._annotations, of)


def _keys(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(intern(key) for key in keys))[:MOST_KEYS]


def _wanted(keys: tuple[str, ...], of: Mapping[str, str | None]) -> dict[str, str | None] | None:
    return {key: intern(cut(of[key])) for key in keys if key in of} or None
