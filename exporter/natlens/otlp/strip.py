"""A strip of octets for each record: its numbers and what stands between them, side by side in one matrix.

Varints (protobuf's encoding guide: 7 bits an octet, least significant group first, the high bit where more follow) are
as wide as the widest of their column: what is shorter is padded with groups of zeros, which every parser takes (the
conformance suite's ``longvarint``). So the strips of most requests have one length, and compress better (ADR 9).
"""

from collections.abc import Iterable
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from natlens.otlp.column import Mask

__all__ = ["Lengths", "Octets", "padded", "strips", "varint"]

Lengths = npt.NDArray[np.int64]

MORE = 0x80


class Octets(NamedTuple):
    """A column of a strip."""

    before: bytes
    """The same in every record."""
    own: npt.NDArray[np.uint8]
    """Shape (n, width): of each record its own."""
    present: Mask | None = None
    """Shape (n,): which records have this column; None is all."""

    @property
    def width(self) -> int:
        """Octets of a record that has it."""
        return len(self.before) + int(self.own.shape[1])

    @property
    def lengths(self) -> Lengths | int:
        """Octets of each record, shape (n,), or of all alike."""
        return self.width if self.present is None else self.width * self.present.astype(np.int64)


def varint(value: int) -> bytes:
    """Return one number (0 ≤ value < 2**64) as a varint."""
    octets = bytearray()
    while value >= MORE:
        octets.append(value & 0x7F | MORE)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def padded(values: npt.NDArray[np.uint64] | npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Return numbers as varints of one width, shape (n, width); negative ones as protobuf has int64, 10 octets."""
    words = values.view(np.uint64)
    width = max(1, -(-int(words.max(initial=0)).bit_length() // 7))
    octets = np.empty((len(words), width), np.uint8)
    for group in range(width):
        octets[:, group] = words >> np.uint64(7 * group)  # the lowest 8 bits of it
    octets[:, :-1] |= MORE
    return octets


def strips(n: int, columns: Iterable[Octets]) -> list[bytes]:
    """Return the strips of ``n`` records: of each record, what it has of every column, in order."""
    columns = list(columns)
    matrix = np.empty((n, sum(column.width for column in columns)), np.uint8)
    used = None if all(column.present is None for column in columns) else np.ones(matrix.shape, np.bool_)
    start = 0
    for before, own, present in columns:
        middle, end = start + len(before), start + len(before) + own.shape[1]
        matrix[:, start:middle] = np.frombuffer(before, np.uint8)
        matrix[:, middle:end] = own
        if used is not None and present is not None:
            used[:, start:end] = present[:, None]
        start = end
    if used is None:
        return cast("list[bytes]", matrix.view(f"V{matrix.shape[1]}").ravel().tolist())
    octets, ends = matrix[used].tobytes(), np.cumsum(np.count_nonzero(used, axis=1)).tolist()
    return [octets[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
