"""Numbers of many records as attributes: columns of their strips."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from natlens.otlp.attributes import Attribute
from natlens.otlp.column import Digits, Mask, Numbers
from natlens.otlp.strip import Octets, padded, varint

__all__ = ["number_octets"]

# opentelemetry-proto, common.proto: field number << 3 | wire type.
KEY, VALUE = b"\x0a", b"\x12"  # KeyValue
STRING, INT, DOUBLE = b"\x0a", b"\x18", b"\x21"  # AnyValue


def number_octets(tag: bytes, columns: Iterable[tuple[Attribute, Numbers | Digits]], part: slice) -> Iterator[Octets]:
    """Yield the columns of the records ``part``; none for an attribute that no record has.

    ``tag`` is that of the field ``attributes``.
    """
    for attribute, column in columns:
        match column:
            case Digits(text):
                yield _attribute(tag, attribute.name, STRING + varint(text.shape[1]), text[part])
            case Numbers(values, present):
                there = None if present is None or present[part].all() else present[part]
                if there is None or there.any():
                    value, own = _value(values[part])
                    yield _attribute(tag, attribute.name, value, own, there)


def _value(values: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> tuple[bytes, npt.NDArray[np.uint8]]:
    """Return the tag and the octets of numbers."""
    if values.dtype == np.float64:
        return DOUBLE, np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(-1, 8)
    return INT, padded(values.view(np.int64))


def _attribute(tag: bytes, name: str, kind: bytes, own: npt.NDArray[np.uint8], present: Mask | None = None) -> Octets:
    """Return an attribute whose value is ``kind``, its tag, and then ``own``."""
    value = VALUE + varint(len(kind) + own.shape[1]) + kind
    key = KEY + varint(len(name.encode())) + name.encode()
    pair = len(key) + len(value) + own.shape[1]
    return Octets(tag + varint(pair) + key + value, own, present)
