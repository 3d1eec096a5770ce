"""natlens' own metrics to an outlet: the SDK's reader and encoder, natlens' queue and transport (ADR 13)."""

from collections.abc import Callable
from typing import Any

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.sdk.metrics import ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult, MetricsData

from natlens.delivery.outlet import Outlet
from natlens.otlp.metrics.collection import Temporality
from natlens.otlp.record import SCHEMA_URL
from natlens.otlp.request import Request

__all__ = ["OutletExporter"]

PREFERRED = {"cumulative": AggregationTemporality.CUMULATIVE, "delta": AggregationTemporality.DELTA}


class OutletExporter(MetricExporter):
    """A :class:`~opentelemetry.sdk.metrics.export.MetricExporter` that never waits for a network.

    What becomes of a request is the outlet's to count, as of every other. ``resource`` tells whose metrics they are, at
    each export anew: the SDK cannot change a provider's, and a node's uid is learned late.
    """

    def __init__(
        self, outlet: Outlet, resource: Callable[[], Resource], temporality: Temporality = "cumulative"
    ) -> None:
        super().__init__({ObservableCounter: PREFERRED[temporality]})
        self._outlet, self._resource = outlet, resource

    def export(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,  # noqa: ARG002  # nothing is waited for
        **_: Any,
    ) -> MetricExportResult:
        """Encode and hand over."""
        message: ExportMetricsServiceRequest = encode_metrics(metrics_data)
        of, count = self._resource(), 0
        for of_resource in message.resource_metrics:
            of_resource.resource.CopyFrom(of)
            of_resource.schema_url = SCHEMA_URL
            count += sum(_points(metric) for scope in of_resource.scope_metrics for metric in scope.metrics)
        if count:
            self._outlet.send(Request(message.SerializeToString(), count, "metrics"))
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002  # nothing waits
        """Do nothing: nothing waits here."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Do nothing: the outlet is its owner's."""


def _points(metric: Metric) -> int:
    return len(metric.sum.data_points) + len(metric.gauge.data_points)
