"""What combinations become: OTLP streams, series of a store, a share of the limit, many nodes' series."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from natlens.otlp.metrics.durations import BOUNDS
from natlens.otlp.metrics.series import streams
from natlens.otlp.metrics.sets import RESPONDER
from natlens.otlp.metrics.settings import HistogramKind
from natlens.otlp.metrics.table import METRICS
from natlens.ui.combinations import Cost

__all__ = ["Points", "Price", "points", "warnings"]

NAMESPACE = "k8s.namespace.name"
ENDS = {"source": "source", "destination": "destination", RESPONDER: "responder"}
"""Role of an attribute → what a filter calls that end."""


class Points(NamedTuple):
    """What one combination of attribute values has at most."""

    otlp: int
    """Streams: a metric and its direction (metrics data model, "Timeseries")."""
    prometheus: int
    """Series: an explicit histogram has ``_bucket`` for each bound and +Inf, ``_sum`` and ``_count``."""


def points(histogram: HistogramKind) -> Points:
    """Return what the metrics of the table make of a combination; an exponential histogram is one native one."""
    of = {"sum": 1, "histogram": len(BOUNDS) + 3 if histogram == "explicit" else 1}
    return Points(streams(), sum(len(one.directions) * of[one.kind] for one in METRICS))


@dataclass(frozen=True)
class Price:
    """A cost in the units in which it is paid."""

    cost: Cost
    points: Points
    limit: int
    """``series_limit``: streams of one node."""
    configured: bool
    """Whether ``metrics_attributes`` is this set."""

    @property
    def room(self) -> int:
        """Combinations that a node can have under the limit; one more is kept for what is over."""
        return self.limit // self.points.otlp - 1

    @property
    def used(self) -> float:
        """The share of that room that the busiest node takes."""
        return self.cost.busiest / self.room

    def at_most(self, nodes: int) -> int | None:
        """Return combinations that so many nodes have at most, if none is busier; None where that is not known."""
        if nodes == len(self.cost.by_node):
            return self.cost.total if self.cost.complete else None
        return nodes * self.cost.busiest if self.cost.complete else None


def _fitting(prices: Sequence[Price]) -> list[str]:
    """Return the names of the sets that have room, the finest first."""
    fit = [one for one in prices if one.cost.complete and one.used <= 1]
    return [one.cost.name for one in sorted(fit, key=lambda one: -one.cost.busiest)]


def warnings(prices: Sequence[Price]) -> Iterator[str]:
    """Yield what is over the limit and the way out, and what was not counted to its end."""
    for one in prices:
        if not one.cost.complete:
            yield (
                f"{one.cost.name}: {one.cost.total:,} combinations were counted, and there are more: its numbers are "
                "the least that it can cost"
            )
        if one.used > 1:
            yield _overflow(one, _fitting(prices))


def _overflow(price: Price, others: Sequence[str]) -> str:
    cost = price.cost
    ways = [f"another set ({', '.join(others)})"] if others else []
    if cost.parts[0].without < cost.total:
        ways.append(f"the set without {cost.parts[0].attribute}")
    ways.append(f"metrics_exclude={_exclude(cost)}")
    enough = (cost.busiest + 1) * price.points.otlp
    return (
        f"{cost.name}: a node has {cost.busiest:,} combinations and series_limit={price.limit} has room for "
        f"{price.room:,}; the rest would be one series with otel.metric.overflow=true. Ways out: {'; '.join(ways)}; "
        f"series_limit={enough} or more"
    )


def _exclude(cost: Cost) -> str:
    """Return the filter that takes away most: the namespace that is in most combinations."""
    found = []
    for part in cost.parts:
        role = part.attribute.removesuffix(f".{NAMESPACE}")
        if role in ENDS and role != part.attribute:
            found += [(count, f"{ENDS[role]}.namespace={value}") for value, count in part.top if value]
    return max(found, default=(0, "namespace=PATTERN"))[1]
