"""Flow metrics: connections summed by series, and what of it is sent.

Streams follow the metrics data model ("Temporality", "Resets and gaps"): a series begins at the time of the collection
before the first one that has it, so that no time of the node's resource ever goes back.
"""

import numpy as np
import numpy.typing as npt

from natlens.otlp.batch import Batch
from natlens.otlp.column import Codes
from natlens.otlp.metrics import table
from natlens.otlp.metrics.collection import Collection, Histograms, Sums
from natlens.otlp.metrics.durations import ExplicitBuckets, Recorded
from natlens.otlp.metrics.exponential import ExponentialBuckets
from natlens.otlp.metrics.grouping import Groups, Reading
from natlens.otlp.metrics.settings import MetricSettings
from natlens.otlp.metrics.slots import NONE, OVER, Slots
from natlens.otlp.metrics.totals import Totals

__all__ = ["Metrics", "streams"]

MILLISECOND = 1_000_000


def streams() -> int:
    """Return how many points one set of attributes has: one for each metric and direction."""
    return sum(len(metric.directions) for metric in table.METRICS)


class Metrics:
    """The metrics of one node; the first collection tells what was since ``began_ns`` (Unix time).

    At most ``settings.series_limit`` points are in one collection. What is over is summed in one series,
    :data:`~natlens.otlp.metrics.collection.OVERFLOW`: of new sets of attributes those stay out that come later, by the
    batch, then by their earliest connection's start, then by their attributes.
    """

    def __init__(self, settings: MetricSettings, began_ns: int) -> None:
        self._settings, self._time_ns = settings, began_ns
        self._reading = Reading(settings.attributes)
        exponential = settings.histogram == "exponential"
        self._sums = [Totals(metric) for metric in table.METRICS if metric.kind == "sum"]
        self._histograms = [
            Recorded(metric, ExponentialBuckets() if exponential else ExplicitBuckets())
            for metric in table.METRICS
            if metric.kind == "histogram"
        ]
        self._accumulated: list[Totals | Recorded] = [*self._sums, *self._histograms]
        self._slots = Slots(max(settings.series_limit // streams(), 1))
        self.added = 0
        """Connections that were summed so far, those in overflow too."""
        self.overflowed = 0
        """Of these, those that have no series of their own."""
        self.excluded = 0
        """Connections that the filters left out."""
        self.secondary = 0
        """Connections whose primary record is another node's."""

    @property
    def live(self) -> int:
        """Series that there are now, each a set of attributes; times :func:`streams` it is the points."""
        return len(self._slots)

    def add(self, batch: Batch) -> None:
        """Sum the batch's connections, those that count."""
        rows = self._selected(batch)
        if not len(rows):
            return
        groups = self._reading.groups(batch, rows)
        slots = self._enter(groups, batch.connections["start_ns"][rows])[groups.codes]
        for one in self._accumulated:
            one.add(slots, batch.connections, rows)
        self.added += len(rows)
        self.overflowed += int(np.count_nonzero(slots == OVER))

    def collect(self, time_ns: int) -> Collection | None:
        """Return the points of now, Unix time ``time_ns``; None where there is nothing to tell.

        A time that is not a millisecond after the last one becomes that: stores keep milliseconds, and refuse points
        that are not later.
        """
        before, self._time_ns = self._time_ns, max(time_ns, self._time_ns + MILLISECOND)
        self._slots.seen(self._time_ns)
        self._free(self._slots.silent_since(self._time_ns - self._settings.expiry_ns))
        live = self._slots.live()
        if self._settings.temporality == "cumulative":
            return self._collection(live, self._slots.start_ns(live), self._slots.take_born(live))
        # Delta, too, has every live series every time, also where nothing happened: else it would have gaps once
        # something on the way adds it up, and a store's increase() guesses what was in a gap.
        told = self._collection(live, np.full(len(live), before, np.int64), self._slots.take_born(live))
        self._clear(live)
        return told

    def _clear(self, slots: Codes) -> None:
        for one in self._accumulated:
            one.clear(slots)

    def _free(self, slots: Codes) -> None:
        self._slots.free(slots)
        self._clear(slots)

    def _collection(
        self, live: Codes, start_ns: npt.NDArray[np.int64], born: npt.NDArray[np.bool_]
    ) -> Collection | None:
        if not len(live):
            return None
        overflow = np.flatnonzero(live == OVER).tolist()
        scale = self._settings.scale
        sums: list[Sums] = [points.scaled(scale) for one in self._sums for points in one.points(live, overflow)]
        histograms: list[Histograms] = [
            points.scaled(scale) for one in self._histograms for points in one.points(live, empty=True)
        ]
        series = self._slots.attributes(live)
        return Collection(series, start_ns, self._time_ns, born, self._settings.temporality, sums, histograms)

    def _selected(self, batch: Batch) -> Codes:
        """Return which connections count (indices)."""
        selected = np.ones(len(batch), np.bool_)
        standing = batch.standing
        if self._settings.primary_only and standing is not None:  # reporter 0: nobody knows, no other will count it
            selected = standing.primary | (standing.reporter == 0)
            self.secondary += len(batch) - int(np.count_nonzero(selected))
        included = self._settings.filters.mask(batch)
        if included is not None:
            self.excluded += int(np.count_nonzero(selected & ~included))
            selected = selected & included
        return np.flatnonzero(selected)

    def _enter(self, groups: Groups, start_ns: npt.NDArray[np.int64]) -> Codes:
        """Return the slot of each group; ``start_ns`` is of the connections."""
        slots = self._slots.find(groups.attributes(), len(groups))
        new, room = np.flatnonzero(slots == NONE), self._slots.room
        if len(new) and room:
            first = np.full(len(groups), np.iinfo(np.int64).max)
            np.minimum.at(first, groups.codes, start_ns)
            when = zip(first[new].tolist(), map(groups.of, new.tolist()), new.tolist(), strict=True)
            enters = sorted(when)[:room]
            slots[[group for *_, group in enters]] = self._slots.enter([one for _, one, _ in enters], self._time_ns)
        if len(new) > room:
            slots[slots == NONE] = OVER
            self._slots.enter_over(self._time_ns)
        for one in self._accumulated:
            one.grow(self._slots.capacity)
        self._slots.touch(slots)
        return slots
