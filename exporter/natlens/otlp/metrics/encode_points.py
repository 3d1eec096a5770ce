"""Points as octets, by columns: of each point what is its own, all but the attributes of its series.

Field numbers are those of opentelemetry-proto's ``metrics.proto``.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from natlens.otlp.column import Mask
from natlens.otlp.metrics.collection import Explicit, Exponential, Histograms, Sums
from natlens.otlp.metrics.encode_head import SUM
from natlens.otlp.metrics.encode_series import encoded
from natlens.otlp.metrics.table import DIRECTION
from natlens.otlp.strip import Lengths, Octets, padded, strips, varint

__all__ = ["Common", "Own", "own", "taken"]

# Field number << 3 | wire type: 0 varint, 1 fixed64, 2 length-delimited.
DATA_POINTS = b"\x0a"  # Sum, Histogram, ExponentialHistogram
START_TIME, TIME = b"\x11", b"\x19"  # every kind of point
AS_INT = b"\x31"  # NumberDataPoint
COUNT, TOTAL = b"\x21", b"\x29"  # both kinds of histogram point
BUCKET_COUNTS, BOUNDS, LEAST, MOST = b"\x32", b"\x3a", b"\x59", b"\x61"  # HistogramDataPoint
SCALE, ZEROS, POSITIVE, EXPONENTIAL_LEAST, EXPONENTIAL_MOST = b"\x30", b"\x39", b"\x42", b"\x61", b"\x69"
OFFSET, POSITIVE_COUNTS = b"\x08", b"\x12"  # Buckets

EXTREMES = 18  # octets of least and most, with tags

Points = TypeVar("Points", bound=Sums | Histograms)


class Common(NamedTuple):
    """What points of every kind have; shape (m,)."""

    start_ns: npt.NDArray[np.int64]
    time_ns: int
    attributes: Lengths
    """Octets of the attributes of the series."""


class Own(NamedTuple):
    """Points without the attributes of their series."""

    octets: Sequence[Sequence[bytes]]
    """Pieces of every point, each of m, in order; the attributes follow them."""
    lengths: Lengths
    """Shape (m,): of the whole points, attributes included."""


def taken(points: Points, which: slice | Mask) -> Points:
    """Return some of the points."""
    if isinstance(points, Sums):
        return points._replace(rows=points.rows[which], values=points.values[which])
    buckets = points.buckets
    return points._replace(
        rows=points.rows[which],
        observations=points.observations[which],
        sum=points.sum[which],
        least=points.least[which],
        most=points.most[which],
        buckets=buckets._replace(counts=buckets.counts[which])
        if isinstance(buckets, Explicit)
        else Exponential(*(column[which] for column in buckets)),
    )


def own(points: Sums | Histograms, common: Common) -> Own:
    """Return points as the messages that ``metrics.proto`` has for them."""
    if isinstance(points, Sums):
        return _sums(points, common)
    if isinstance(points.buckets, Explicit):
        return _explicit(points, points.buckets, common)
    return _exponential(points, points.buckets, common)


def _sums(of: Sums, common: Common) -> Own:
    direction = encoded(((DIRECTION, of.direction),), SUM.attributes) if of.direction else b""
    columns = [*_times(common), Octets(AS_INT, _fixed(of.values)), _constant(direction, len(of.values))]
    octets, lengths = _strips(columns, 0, common.attributes)
    return Own([octets], lengths)


def _explicit(of: Histograms, buckets: Explicit, common: Common) -> Own:
    bounds = np.array(buckets.bounds, "<f8").tobytes()
    columns = [
        *_times(common),
        *_totals(of),
        Octets(BUCKET_COUNTS + varint(8 * buckets.counts.shape[1]), _fixed(buckets.counts)),
        _constant(BOUNDS + varint(len(bounds)) + bounds, len(of.rows)),
        Octets(LEAST, _fixed(of.least)),
        Octets(MOST, _fixed(of.most)),
    ]
    octets, lengths = _strips(columns, _without_extremes(of), common.attributes)
    return Own([octets], lengths)


def _exponential(of: Histograms, buckets: Exponential, common: Common) -> Own:
    columns = [
        *_times(common),
        *_totals(of),
        Octets(SCALE, padded(_zigzag(buckets.scale))),
        Octets(ZEROS, _fixed(buckets.zeros)),
        Octets(EXPONENTIAL_LEAST, _fixed(of.least)),
        Octets(EXPONENTIAL_MOST, _fixed(of.most)),
    ]
    positive, size = _positive(buckets)
    octets, lengths = _strips(columns, _without_extremes(of), size + common.attributes)
    return Own([octets, positive], lengths)


def _positive(buckets: Exponential) -> tuple[list[bytes], Lengths]:
    """Return the field of the buckets, and its octets; none where all are empty."""
    m, width = buckets.counts.shape
    used = width - np.argmax(buckets.counts[:, ::-1] != 0, axis=1) if width else np.zeros(m, np.int64)
    used = np.where(buckets.counts.any(axis=1), used, 0)
    counts = padded(np.ascontiguousarray(buckets.counts).ravel())
    packed = Octets(POSITIVE_COUNTS, padded(used * counts.shape[1]))
    offset = Octets(OFFSET, padded(_zigzag(buckets.offset)))
    size = offset.width + packed.width + used * counts.shape[1]
    head = Octets(POSITIVE, padded(size))
    columns = [head, offset, packed, Octets(b"", counts.reshape(m, width * counts.shape[1]))]
    lengths = np.where(used > 0, head.width + size, 0)
    return _cut(strips(m, columns), lengths), lengths


def _strips(columns: list[Octets], dropped: Lengths | int, rest: Lengths) -> tuple[list[bytes], Lengths]:
    """Return the begin of points and their lengths; ``dropped`` octets are cut at its end, ``rest`` follow it."""
    own = sum(column.width for column in columns) - dropped
    whole = Octets(DATA_POINTS, padded(own + rest))
    octets = strips(len(rest), [whole, *columns])
    if isinstance(dropped, np.ndarray) and dropped.any():
        octets = _cut(octets, whole.width + own)
    return octets, whole.width + own + rest


def _cut(octets: list[bytes], lengths: Any) -> list[bytes]:
    return [one[:length] for one, length in zip(octets, lengths.tolist(), strict=True)]


def _times(common: Common) -> list[Octets]:
    return [
        Octets(START_TIME, _fixed(common.start_ns)),
        _constant(TIME + common.time_ns.to_bytes(8, "little"), len(common.start_ns)),
    ]


def _totals(of: Histograms) -> list[Octets]:
    return [Octets(COUNT, _fixed(of.observations)), Octets(TOTAL, _fixed(of.sum))]


def _without_extremes(of: Histograms) -> Lengths:
    """Return how many octets a point lacks that has seen nothing."""
    return np.where(of.observations == 0, EXTREMES, 0)


def _constant(octets: bytes, m: int) -> Octets:
    return Octets(octets, np.empty((m, 0), np.uint8))


def _fixed(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return words of 8 octets, those of one point side by side."""
    words = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return words.view(np.uint8).reshape(len(values), words.nbytes // max(1, len(values)))


def _zigzag(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return signed numbers as protobuf has sint32: small ones stay small."""
    return (values << 1) ^ (values >> 63)
