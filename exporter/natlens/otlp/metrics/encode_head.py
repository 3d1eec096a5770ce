"""What comes before the points of a metric: its name and how its points are to be read."""

from typing import Final, NamedTuple

from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    AGGREGATION_TEMPORALITY_DELTA,
    Histogram,
    Sum,
)

from natlens.otlp.metrics.collection import Explicit, Histograms, Sums, Temporality
from natlens.otlp.strip import varint

__all__ = ["EXPLICIT", "EXPONENTIAL", "SUM", "Head", "Kind", "kind"]

METRICS = b"\x12"  # ScopeMetrics: field number << 3 | 2, length-delimited
PREFIX = 1 + 5  # octets of a tag and a length at the most


class Kind(NamedTuple):
    """Tags of a kind of point (metrics.proto)."""

    data: bytes
    """Of the field of ``Metric`` that has such points."""
    attributes: bytes
    """Of the field of the point that has an attribute."""


SUM: Final = Kind(b"\x3a", b"\x3a")
EXPLICIT: Final = Kind(b"\x4a", b"\x4a")
EXPONENTIAL: Final = Kind(b"\x52", b"\x0a")


def kind(points: Sums | Histograms) -> Kind:
    """Return which kind of point these are."""
    if isinstance(points, Sums):
        return SUM
    return EXPLICIT if isinstance(points.buckets, Explicit) else EXPONENTIAL


class Head(NamedTuple):
    """The fields of a metric but for its points; those of the same head are one metric."""

    metric: bytes
    """Fields of ``Metric``."""
    tag: bytes
    """Of the metric's data."""
    data: bytes
    """Fields of the data; those of ``ExponentialHistogram`` have the numbers of ``Histogram``."""

    @classmethod
    def of(cls, points: Sums | Histograms, temporality: Temporality) -> "Head":
        """Return the head of the points' metric."""
        cumulative = temporality == "cumulative"
        over = AGGREGATION_TEMPORALITY_CUMULATIVE if cumulative else AGGREGATION_TEMPORALITY_DELTA
        is_sum = isinstance(points, Sums)
        data = (
            Sum(aggregation_temporality=over, is_monotonic=True) if is_sum else Histogram(aggregation_temporality=over)
        )
        metric = metrics_pb2.Metric(name=points.metric.name, description=points.metric.brief, unit=points.metric.unit)
        return cls(metric.SerializeToString(), kind(points).data, data.SerializeToString())

    def before(self, size: int) -> list[bytes]:
        """Return the octets before points of ``size`` octets in all."""
        data = len(self.data) + size
        of_data = self.tag + varint(data)
        return [METRICS, varint(len(self.metric) + len(of_data) + data), self.metric, of_data, self.data]

    @property
    def most(self) -> int:
        """How many octets :meth:`before` makes at the most."""
        return len(self.metric) + len(self.data) + 2 * PREFIX
