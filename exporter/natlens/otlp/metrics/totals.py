"""Sums of one metric, by slot: a slot is the place of one series."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from natlens.otlp.column import Codes
from natlens.otlp.metrics.collection import Sums
from natlens.otlp.metrics.table import Metric

__all__ = ["Totals", "grown"]

Scalar = TypeVar("Scalar", bound=np.generic)


def grown(array: npt.NDArray[Scalar], slots: int, fill: Any = 0) -> npt.NDArray[Scalar]:
    """Return ``array`` (shape (m, …)) with room for ``slots`` ≥ m; what is new is ``fill``."""
    if len(array) == slots:
        return array
    larger = np.full((slots, *array.shape[1:]), fill, array.dtype)
    larger[: len(array)] = array
    return larger


class Totals:
    """What each series of a monotonic sum has so far: int64, exact up to nine exabytes."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._values = [np.zeros(0, np.int64) for _ in metric.directions]

    def grow(self, slots: int) -> None:
        """Make room for as many slots."""
        self._values = [grown(values, slots) for values in self._values]

    def add(self, slots: Codes, connections: npt.NDArray[np.void], rows: Codes) -> None:
        """Add the connections ``rows``, each to its slot."""
        for values, (_, read) in zip(self._values, self._metric.directions, strict=True):
            np.add.at(values, slots, read(connections)[rows])

    def clear(self, slots: Codes) -> None:
        """Begin from 0."""
        for values in self._values:
            values[slots] = 0

    def points(self, slots: Codes, overflow: Sequence[int]) -> Iterator[Sums]:
        """Yield the points of the series that are in ``slots``.

        ``overflow`` are the rows of series that have no direction, at most one: both directions in one point.
        """
        directions = [direction for direction, _ in self._metric.directions]
        rows = np.arange(len(slots), dtype=np.intp)
        if directions != [None]:
            without, rows = rows[list(overflow)], np.delete(rows, list(overflow))
            if len(without):
                together = np.sum([values[slots[without]] for values in self._values], axis=0)
                yield Sums(self._metric, None, without, together)
        if len(rows):
            for direction, values in zip(directions, self._values, strict=True):
                yield Sums(self._metric, direction, rows, values[slots[rows]])
