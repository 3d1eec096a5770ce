"""Encoded attributes of series: made once, kept while the series lives."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from natlens.otlp.column import Value
from natlens.otlp.metrics.collection import Attributes
from natlens.otlp.record import key_value
from natlens.otlp.strip import Lengths, varint

__all__ = ["Encoded", "KnownSeries", "encoded"]


class Encoded(NamedTuple):
    """The attributes of each series of a collection, as a point of one kind has them."""

    octets: npt.NDArray[np.object_]
    """Shape (n,), of ``bytes``."""
    lengths: Lengths
    """Of ``octets``."""


class KnownSeries:
    """Attributes by the tuple they were encoded from; those of series that a collection lacks are forgotten.

    They are found by the tuple's identity, which costs no hashing of its texts. A tuple whose octets are known is kept:
    so no other one can have its identity.
    """

    def __init__(self) -> None:
        self._series: list[Attributes] = []
        self._octets: dict[bytes, dict[int, bytes]] = {}

    def of(self, series: Sequence[Attributes], tags: Iterable[bytes]) -> dict[bytes, Encoded]:
        """Return the attributes of every series, for each tag of the field that points have them in."""
        identities = list(map(id, series))
        found = {tag: _octets(series, identities, self._octets.get(tag, {}), tag) for tag in tags}
        self._octets = {tag: dict(zip(identities, octets, strict=True)) for tag, octets in found.items()}
        self._series = list(series)
        return {tag: _columns(octets) for tag, octets in found.items()}


def encoded(attributes: Attributes, tag: bytes) -> bytes:
    """Return attributes as octets, each a field with this tag."""
    return b"".join(_field(name, value, tag) for name, value in attributes)


def _octets(
    series: Sequence[Attributes], identities: Sequence[int], known: Mapping[int, bytes], tag: bytes
) -> list[bytes]:
    found = list(map(known.get, identities))
    texts: dict[tuple[str, str], bytes] = {}
    return [_encode(series[at], tag, texts) if octets is None else octets for at, octets in enumerate(found)]


def _encode(attributes: Attributes, tag: bytes, texts: dict[tuple[str, str], bytes]) -> bytes:
    """Encode one series; most of a name's texts are those of other series too, and ``texts`` has them."""
    parts = []
    for name, value in attributes:
        if not isinstance(value, str):
            parts.append(_field(name, value, tag))
        elif (part := texts.get((name, value))) is not None:
            parts.append(part)
        else:
            parts.append(texts.setdefault((name, value), _field(name, value, tag)))
    return b"".join(parts)


def _field(name: str, value: Value, tag: bytes) -> bytes:
    octets = key_value(name, value).SerializeToString()
    return tag + varint(len(octets)) + octets


def _columns(octets: list[bytes]) -> Encoded:
    held = np.empty(len(octets), np.object_)
    held[:] = octets
    return Encoded(held, np.fromiter(map(len, octets), np.int64, len(octets)))
