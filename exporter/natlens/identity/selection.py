"""Labels and annotations that records carry."""

from collections.abc import Iterable

from natlens.identity.objects import Metadata

__all__ = ["Selected", "Selection", "cut"]

Selected = tuple[tuple[str, str], ...]
"""See :attr:`natlens.identity.endpoint.Endpoint.selected`."""
MOST_BYTES = 1024
"""Of a value; it is cut at a character's border."""


class Selection:
    """The keys that were asked for, of labels and of annotations."""

    def __init__(self, labels: Iterable[str] = (), annotations: Iterable[str] = ()) -> None:
        self._labels = tuple(labels)
        self._annotations = tuple(annotations)

    def of(self, kind: str, metadata: Metadata) -> Selected:
        """Return what an object of this kind (``pod``, ``service``, ``node``) has of them, ordered by name."""
        if not self._labels and not self._annotations:
            return ()
        labels, annotations = metadata.labels or {}, metadata.annotations or {}
        found = [(f"k8s.{kind}.label.{key}", cut(labels[key])) for key in self._labels if key in labels]
        found += [
            (f"k8s.{kind}.annotation.{key}", cut(annotations[key])) for key in self._annotations if key in annotations
        ]
        return tuple(sorted(found))


def cut(value: str | None) -> str:
    """Return as many whole characters as 1 KiB of UTF-8 holds."""
    raw = (value or "").encode(errors="replace")
    return raw[:MOST_BYTES].decode(errors="ignore")
