"""Base-2 exponential buckets, by slot: as fine as 160 of them allow.

Follows "Base2 Exponential Bucket Histogram Aggregation" of the metrics SDK specification and gives what the SDK's
aggregation of the same observations gives, in whatever order they come.
"""

import numpy as np
import numpy.typing as npt

from natlens.otlp.column import Codes
from natlens.otlp.metrics.collection import Exponential
from natlens.otlp.metrics.totals import grown

__all__ = ["FINEST", "WIDTH", "ExponentialBuckets", "index_of"]

WIDTH = 160
"""Buckets of a point at most: the specification's default MaxSize."""

FINEST = 20
"""The specification's default MaxScale: bounds are powers of 2 ** (2 ** -20)."""

Indexes = npt.NDArray[np.int64]
HIGHEST = np.iinfo(np.int64).max


def index_of(values: npt.NDArray[np.float64]) -> Indexes:
    """Return the index of each value's bucket at the finest scale (values > 0, shape (n,)).

    A bucket has its upper bound and not its lower one. At a scale coarser by k the index is shifted right by k.
    """
    fraction, exponent = np.frexp(values)  # so that powers of two are exact, and their neighbours close
    within: Indexes = np.ceil(np.log2(fraction) * (1 << FINEST)).astype(np.int64)
    index: Indexes = (exponent.astype(np.int64) << FINEST) + within - 1
    return index


class ExponentialBuckets:
    """Counts of positive values, and of zeros; each slot has the finest scale at which its values fit."""

    def __init__(self) -> None:
        self._counts = np.zeros((0, WIDTH), np.int64)
        self._zeros, self._low, self._high, self._coarser = (np.zeros(0, np.int64) for _ in range(4))
        # low and high: of what was counted, at the finest scale; low > high is nothing. Scale is FINEST - coarser.

    def grow(self, slots: int) -> None:
        """Make room for as many slots."""
        self._counts, self._zeros = grown(self._counts, slots), grown(self._zeros, slots)
        self._low, self._high = grown(self._low, slots, HIGHEST), grown(self._high, slots, -HIGHEST)
        self._coarser = grown(self._coarser, slots)

    def add(self, slots: Codes, observed: npt.NDArray[np.float64]) -> None:
        """Count observations ≥ 0, each in its slot."""
        positive = observed > 0
        np.add.at(self._zeros, slots[~positive], 1)
        slots, index = slots[positive], index_of(observed[positive])
        if len(slots):
            self._make_fit(slots, index)
            at = (index >> self._coarser[slots]) - self._offset(slots)
            np.add.at(self._counts.reshape(-1), slots * WIDTH + at, 1)

    def clear(self, slots: Codes) -> None:
        """Begin from nothing."""
        self._counts[slots], self._zeros[slots], self._coarser[slots] = 0, 0, 0
        self._low[slots], self._high[slots] = HIGHEST, -HIGHEST

    def points(self, slots: Codes) -> Exponential:
        """Return the buckets of ``slots``, in their order; without positive values the scale is the finest.

        (The specification's SHOULD. The SDK gives scale 0 to nothing but zeros, and what merges that loses all detail.)
        """
        counted = self._low[slots] <= self._high[slots]
        offset = np.where(counted, self._offset(slots), 0)
        return Exponential(FINEST - self._coarser[slots], self._zeros[slots], offset, self._counts[slots])

    def _offset(self, slots: Codes) -> Indexes:
        """Return the index of the first bucket, at the slots' own scales."""
        offset: Indexes = self._low[slots] >> self._coarser[slots]
        return offset

    def _make_fit(self, slots: Codes, index: Indexes) -> None:
        """Move and merge the slots' buckets so that there is one for each of ``index`` (at the finest scale)."""
        touched = np.unique(slots)
        before, coarser_before = self._low[touched], self._coarser[touched]
        np.minimum.at(self._low, slots, index)
        np.maximum.at(self._high, slots, index)
        low, high, coarser = self._low[touched], self._high[touched], coarser_before.copy()
        while (wide := (high >> coarser) - (low >> coarser) >= WIDTH).any():
            coarser += wide
        self._coarser[touched] = coarser
        moves = np.flatnonzero((before != HIGHEST) & ((before != low) | (coarser != coarser_before)))
        self._move(touched[moves], before[moves] >> coarser_before[moves], (coarser - coarser_before)[moves])

    def _move(self, slots: Codes, offset: Indexes, shift: Indexes) -> None:
        """Count anew what was counted from ``offset`` on; ``shift``: how much coarser it has become."""
        which, at = np.nonzero(self._counts[slots])
        moved = ((offset[which] + at) >> shift[which]) - self._offset(slots)[which]
        counts = np.zeros((len(slots), WIDTH), np.int64)
        np.add.at(counts, (which, moved), self._counts[slots[which], at])
        self._counts[slots] = counts
