"""A histogram of one metric, by slot: a slot is the place of one series."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from natlens.otlp.column import Codes
from natlens.otlp.metrics.collection import Explicit, Exponential, Histograms
from natlens.otlp.metrics.table import Metric
from natlens.otlp.metrics.totals import grown

__all__ = ["BOUNDS", "Buckets", "ExplicitBuckets", "Recorded"]

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
"""Upper bounds in s. Up to 10 those that OpenTelemetry's conventions advise for durations of requests, of which most
connections have one or a few; above that what keeps connections open: 30 s, minutes, an hour (pools, streams)."""


class Buckets(Protocol):
    """How many observations fell where, for each slot."""

    def grow(self, slots: int) -> None:
        """Make room for as many slots."""
        ...

    def add(self, slots: Codes, observed: npt.NDArray[np.float64]) -> None:
        """Count observations ≥ 0, each in its slot."""
        ...

    def clear(self, slots: Codes) -> None:
        """Begin from nothing."""
        ...

    def points(self, slots: Codes) -> Explicit | Exponential:
        """Return the buckets of ``slots``, in their order."""
        ...


class ExplicitBuckets:
    """Buckets between fixed bounds."""

    def __init__(self, bounds: tuple[float, ...] = BOUNDS) -> None:
        self._bounds = bounds
        self._counts = np.zeros((0, len(bounds) + 1), np.int64)

    def grow(self, slots: int) -> None:
        """Make room for as many slots."""
        self._counts = grown(self._counts, slots)

    def add(self, slots: Codes, observed: npt.NDArray[np.float64]) -> None:
        """Count observations, each in its slot."""
        width = len(self._bounds) + 1
        at = slots * width + np.searchsorted(self._bounds, observed, "left")  # a bound belongs to the bucket below it
        np.add.at(self._counts.reshape(-1), at, 1)

    def clear(self, slots: Codes) -> None:
        """Begin from nothing."""
        self._counts[slots] = 0

    def points(self, slots: Codes) -> Explicit:
        """Return the buckets of ``slots``, in their order."""
        return Explicit(self._bounds, self._counts[slots])


class Recorded:
    """What each series of a histogram has recorded so far."""

    def __init__(self, metric: Metric, buckets: Buckets) -> None:
        self._metric, self._buckets = metric, buckets
        self._observations = np.zeros(0, np.int64)
        self._sum, self._least, self._most = (np.zeros(0) for _ in range(3))

    def grow(self, slots: int) -> None:
        """Make room for as many slots."""
        self._observations, self._sum = grown(self._observations, slots), grown(self._sum, slots)
        self._least, self._most = grown(self._least, slots, np.nan), grown(self._most, slots, np.nan)
        self._buckets.grow(slots)

    def add(self, slots: Codes, connections: npt.NDArray[np.void], rows: Codes) -> None:
        """Record the connections ``rows``, each in its slot."""
        observed = self._metric.read(connections)[rows]
        there = ~np.isnan(observed)
        slots, observed = slots[there], observed[there]
        np.add.at(self._observations, slots, 1)
        np.add.at(self._sum, slots, observed)
        np.fmin.at(self._least, slots, observed)
        np.fmax.at(self._most, slots, observed)
        self._buckets.add(slots, observed)

    def clear(self, slots: Codes) -> None:
        """Begin from nothing."""
        self._observations[slots], self._sum[slots] = 0, 0
        self._least[slots] = self._most[slots] = np.nan
        self._buckets.clear(slots)

    def points(self, slots: Codes, *, empty: bool) -> Iterator[Histograms]:
        """Yield the points of the series in ``slots``; ``empty``: also of those that recorded nothing."""
        rows = np.arange(len(slots)) if empty else np.flatnonzero(self._observations[slots])
        of = slots[rows]
        if len(rows):
            yield Histograms(
                self._metric,
                rows,
                self._observations[of],
                self._sum[of],
                self._least[of],
                self._most[of],
                self._buckets.points(of),
            )
