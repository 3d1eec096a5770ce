"""OTLP requests made by hand, without a line of natlens' own encoder."""

from collections.abc import Sequence
from typing import NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    AGGREGATION_TEMPORALITY_DELTA,
    AggregationTemporality,
    NumberDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from natlens.otlp.record import key_value
from natlens.otlp.request import Request
from natlens.otlp.resource import Observer, resource

__all__ = ["METRIC", "Point", "births", "delta", "node", "request", "sums"]

METRIC = "flow.io"  # flow_io_bytes_total to Prometheus


class Point(NamedTuple):
    """A point of a sum: what tells its series apart, since when and until when it counts, and how much."""

    series: str
    start_ns: int
    time_ns: int
    value: int


def node(name: str = "node-a") -> Resource:
    """Return the resource that natlens has on a node."""
    return resource(Observer(host_name=name, node_name=name, node_uid=f"uid-{name}"))


def births(points: Sequence[Point]) -> list[Point]:
    """Return a 0 at the start of each."""
    return [point._replace(time_ns=point.start_ns, value=0) for point in points]


def sums(points: Sequence[Point], of: Resource | None = None) -> Request:
    """Return a request with these points of a cumulative sum."""
    return request(points, of or node(), AGGREGATION_TEMPORALITY_CUMULATIVE)


def delta(points: Sequence[Point], of: Resource | None = None) -> Request:
    """Return a request with these points of a delta sum."""
    return request(points, of or node(), AGGREGATION_TEMPORALITY_DELTA)


def request(points: Sequence[Point], of: Resource, temporality: AggregationTemporality.ValueType) -> Request:
    """Return a request with these points of a sum."""
    made = ExportMetricsServiceRequest()
    scope = made.resource_metrics.add(resource=of).scope_metrics.add(scope=InstrumentationScope(name="by hand"))
    metric = scope.metrics.add(name=METRIC, unit="By")
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = temporality
    metric.sum.data_points.extend(
        NumberDataPoint(
            attributes=[key_value("series", point.series)],
            start_time_unix_nano=point.start_ns,
            time_unix_nano=point.time_ns,
            as_int=point.value,
        )
        for point in points
    )
    return Request(made.SerializeToString(), len(points), "metrics")
