"""The protobuf messages of each signal. Import this where one is read or cut: ordinary sending needs none."""

from typing import NamedTuple

from google.protobuf.message import Message

from natlens.otlp.request import Signal

__all__ = ["Messages", "messages"]


class Messages(NamedTuple):
    """What one Export call takes and returns."""

    request: type[Message]
    response: type[Message]


def messages(signal: Signal) -> Messages:
    """Return the messages of a signal; only its own are imported."""
    match signal:
        case "logs":
            from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs

            return Messages(logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse)
        case "metrics":
            from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics

            return Messages(metrics.ExportMetricsServiceRequest, metrics.ExportMetricsServiceResponse)
        case "traces":
            from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

            return Messages(traces.ExportTraceServiceRequest, traces.ExportTraceServiceResponse)
