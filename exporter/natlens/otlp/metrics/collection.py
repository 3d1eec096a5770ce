"""What one collection of metrics is: the encoder's input, as columns."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from natlens.otlp.column import Mask, Value
from natlens.otlp.columns import LARGEST
from natlens.otlp.metrics.table import Direction, Metric

__all__ = ["OVERFLOW", "Attributes", "Collection", "Explicit", "Exponential", "Histograms", "Sums", "Temporality"]

Attributes = tuple[tuple[str, Value], ...]
"""Of one series, without ``flow.direction``: name and value, in the order of the configured attributes."""

Temporality = Literal["cumulative", "delta"]

OVERFLOW: Attributes = (("otel.metric.overflow", True),)
"""The series of what is over the limit (metrics SDK specification, "Overflow attribute"); it has no direction."""


class Sums(NamedTuple):
    """Points of a monotonic sum, one for each of the ``rows`` of the collection's series."""

    metric: Metric
    direction: Direction | None
    rows: npt.NDArray[np.intp]
    """Shape (m,): index into the collection's series."""
    values: npt.NDArray[np.int64]
    """Shape (m,)."""

    def scaled(self, by: int) -> "Sums":
        """Return the points of so many times as much, int64's largest at the most."""
        return self if by == 1 else self._replace(values=_times(self.values, by))


class Explicit(NamedTuple):
    """Buckets with bounds (metrics data model, "Histogram")."""

    bounds: tuple[float, ...]
    counts: npt.NDArray[np.int64]
    """Shape (m, len(bounds) + 1): bucket i has what is ≤ bounds[i] and > bounds[i - 1]."""


class Exponential(NamedTuple):
    """Buckets whose bounds are powers of 2 ** (2 ** -scale) (metrics data model, "ExponentialHistogram")."""

    scale: npt.NDArray[np.int64]
    """Shape (m,)."""
    zeros: npt.NDArray[np.int64]
    """Shape (m,)."""
    offset: npt.NDArray[np.int64]
    """Shape (m,): index of the first bucket."""
    counts: npt.NDArray[np.int64]
    """Shape (m, width): of positive values, from ``offset`` on; zeros at the end are not sent."""


class Histograms(NamedTuple):
    """Points of a histogram, one for each of the ``rows`` of the collection's series."""

    metric: Metric
    rows: npt.NDArray[np.intp]
    observations: npt.NDArray[np.int64]
    sum: npt.NDArray[np.float64]
    least: npt.NDArray[np.float64]
    """Shape (m,); NaN where there are no observations."""
    most: npt.NDArray[np.float64]
    buckets: Explicit | Exponential

    def scaled(self, by: int) -> "Histograms":
        """Return the points of each observation so many times."""
        if by == 1:
            return self
        buckets: Explicit | Exponential
        if isinstance(self.buckets, Exponential):
            counts, zeros = _times(self.buckets.counts, by), _times(self.buckets.zeros, by)
            buckets = self.buckets._replace(counts=counts, zeros=zeros)
        else:
            buckets = self.buckets._replace(counts=_times(self.buckets.counts, by))
        return self._replace(observations=_times(self.observations, by), sum=self.sum * by, buckets=buckets)


class Collection(NamedTuple):
    """All points of one time."""

    series: Sequence[Attributes]
    """n of them; the tuple of one series is the same object in every collection."""
    start_ns: npt.NDArray[np.int64]
    """Shape (n,), Unix time: since when each counts."""
    time_ns: int
    """Unix time of every point; later than that of the collection before."""
    born: Mask
    """Shape (n,): series that begin here. A point of 0 at ``start_ns`` is sent before all others.

    Their ``start_ns`` is the time of the collection before, so that no time of the resource goes back.
    """
    temporality: Temporality
    sums: Sequence[Sums]
    histograms: Sequence[Histograms]


def _times(counts: npt.NDArray[np.int64], by: int) -> npt.NDArray[np.int64]:
    return np.minimum(counts, LARGEST // by) * by
