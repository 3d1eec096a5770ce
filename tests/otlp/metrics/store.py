"""A store of points that refuses what no store should get, and knows what it was told in all."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from natlens.otlp.metrics.collection import Attributes, Collection, Explicit, Histograms, Sums

__all__ = ["Store", "Stream"]

MILLISECOND = 1_000_000


class Stream(NamedTuple):
    """What one line in a graph is."""

    metric: str
    series: Attributes
    direction: str | None


class _Sample(NamedTuple):
    start_ns: int
    time_ns: int
    values: tuple[float, ...]


class Store:
    """Holds cumulative streams to the data model's rules, delta streams too; ``limit`` points a collection."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._last: dict[Stream, _Sample] = {}
        self._time_ns = -MILLISECOND
        self.increase = Counter[tuple[str, str | None]]()
        """By metric and direction, as a store counts it that has seen every point and the 0 at a birth."""

    def take(self, collection: Collection) -> None:
        """Check a collection, and add it up."""
        assert collection.time_ns // MILLISECOND > self._time_ns // MILLISECOND
        assert (collection.start_ns < collection.time_ns).all()
        assert len(set(collection.series)) == len(collection.series) == len(collection.born)
        seen = set[Stream]()
        every: list[Sums | Histograms] = [*collection.sums, *collection.histograms]
        for points in every:
            values = _values(points)
            direction = points.direction if isinstance(points, Sums) else None
            for row, value in zip(points.rows.tolist(), values, strict=True):
                stream = Stream(points.metric.name, collection.series[row], direction)
                assert stream not in seen
                seen.add(stream)
                sample = _Sample(int(collection.start_ns[row]), collection.time_ns, value)
                self._add(stream, sample, collection, born=bool(collection.born[row]))
        assert 0 < len(seen) <= self._limit
        self._time_ns = collection.time_ns

    def _add(self, stream: Stream, sample: _Sample, of: Collection, *, born: bool) -> None:
        last = self._last.get(stream)
        assert all(value >= 0 for value in sample.values)
        if born:
            assert last is None or sample.start_ns // MILLISECOND > last.time_ns // MILLISECOND, "the 0 comes too early"
            assert sample.start_ns >= self._time_ns, "the resource's time goes back"
            self._count(stream, sample.values[0])
            self._last[stream] = sample
            return
        assert last is not None, "began without a 0"
        if of.temporality == "delta":
            assert sample.start_ns == last.time_ns, "intervals overlap, or leave a gap"
            self._count(stream, sample.values[0])
        else:
            assert sample.start_ns == last.start_ns
            assert all(now >= before for now, before in zip(sample.values, last.values, strict=True)), "fell"
            self._count(stream, sample.values[0] - last.values[0])
        self._last[stream] = sample

    def _count(self, stream: Stream, value: float) -> None:
        self.increase[stream.metric, stream.direction] += int(value)


def _values(points: Sums | Histograms) -> list[tuple[float, ...]]:
    """Return what must never fall, the number that is counted first."""
    if isinstance(points, Sums):
        return [(value,) for value in points.values.tolist()]
    counts = points.buckets.counts
    zeros = 0 if isinstance(points.buckets, Explicit) else points.buckets.zeros
    assert (counts.sum(axis=1) + zeros == points.observations).all()
    assert (np.isnan(points.least) == (points.observations == 0)).all()
    assert not (points.least > points.most).any()
    fixed = counts if isinstance(points.buckets, Explicit) else counts[:, :0]  # the others' bounds may change
    columns = np.column_stack([points.observations, points.sum, fixed])
    return [tuple(row) for row in columns.tolist()]
