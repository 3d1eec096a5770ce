"""The account that every delivery test closes with, and requests of each signal to send."""

import time
from collections.abc import Callable, Iterable

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from natlens.health import Health
from natlens.otlp.request import UNITS, Request, Signal

__all__ = [
    "KINDS",
    "Unit",
    "account",
    "balanced",
    "counted",
    "eventually",
    "parsed",
    "parsed_as",
    "records_of",
    "request_of",
    "sequences",
    "units_of",
]

SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
HERE = Resource(attributes=[KeyValue(key="host.name", value=AnyValue(string_value="node-1"))])
SCOPE = InstrumentationScope(name="natlens")

KINDS: dict[Signal, type[Message]] = {
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "traces": ExportTraceServiceRequest,
}

Unit = LogRecord | NumberDataPoint | Span
"""What is counted."""


def request_of(count: int, first: int = 0, record_bytes: int = 0, signal: Signal = "logs") -> Request:
    """Return a request of ``count`` records with sequence numbers from ``first``, each of about ``record_bytes``.

    Of metrics these are the points of one sum.
    """
    make = {"logs": _logs, "metrics": _metrics, "traces": _traces}[signal]
    return Request(make(range(first, first + count), "x" * record_bytes).SerializeToString(), count, signal)


def _sequence(number: int) -> KeyValue:
    return KeyValue(key="flow.sequence", value=AnyValue(int_value=number))


def _logs(numbers: range, text: str) -> Message:
    records = [
        LogRecord(
            time_unix_nano=number,
            event_name="flow.connection",
            attributes=[_sequence(number)],
            body=AnyValue(string_value=text),
        )
        for number in numbers
    ]
    scopes = [ScopeLogs(scope=SCOPE, log_records=records)]
    return ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=HERE, schema_url=SCHEMA, scope_logs=scopes)])


def _metrics(numbers: range, text: str) -> Message:
    padding = KeyValue(key="text", value=AnyValue(string_value=text))
    points = [NumberDataPoint(time_unix_nano=at, as_int=at, attributes=[_sequence(at), padding]) for at in numbers]
    total = Sum(
        data_points=points,
        is_monotonic=True,
        aggregation_temporality=AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE,
    )
    scopes = [ScopeMetrics(scope=SCOPE, metrics=[Metric(name="flow.io", unit="By", sum=total)])]
    of_resource = ResourceMetrics(resource=HERE, schema_url=SCHEMA, scope_metrics=scopes)
    return ExportMetricsServiceRequest(resource_metrics=[of_resource])


def _traces(numbers: range, text: str) -> Message:
    spans = [
        Span(
            trace_id=at.to_bytes(16, "big"),
            span_id=at.to_bytes(8, "big"),
            name="connection",
            attributes=[_sequence(at)],
            trace_state=text,
        )
        for at in numbers
    ]
    scopes = [ScopeSpans(scope=SCOPE, spans=spans)]
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=HERE, schema_url=SCHEMA, scope_spans=scopes)]
    )


def parsed(data: bytes) -> ExportLogsServiceRequest:
    """Return a serialized request of logs as a message."""
    return ExportLogsServiceRequest.FromString(data)


def parsed_as(signal: Signal, data: bytes) -> Message:
    """Return a serialized request of a signal as a message."""
    return KINDS[signal].FromString(data)


def units_of(signal: Signal, data: bytes) -> list[Unit]:
    """Return the log records, points of sums or spans of a serialized request, in order."""
    match parsed_as(signal, data):
        case ExportLogsServiceRequest() as logs:
            return [one for of in logs.resource_logs for scope in of.scope_logs for one in scope.log_records]
        case ExportMetricsServiceRequest() as metrics:
            return [
                point
                for of_resource in metrics.resource_metrics
                for of_scope in of_resource.scope_metrics
                for metric in of_scope.metrics
                for point in metric.sum.data_points
            ]
        case ExportTraceServiceRequest() as traces:
            return [one for of in traces.resource_spans for scope in of.scope_spans for one in scope.spans]
    raise AssertionError(signal)


def records_of(data: bytes) -> list[LogRecord]:
    """Return the records of a serialized request of logs."""
    return [one for one in units_of("logs", data) if isinstance(one, LogRecord)]


def sequences(of: Iterable[Unit]) -> list[int]:
    """Return the sequence numbers of records, points or spans."""
    return [one.value.int_value for record in of for one in record.attributes if one.key == "flow.sequence"]


def account(health: Health, signal: Signal = "logs") -> dict[str, int]:
    """Return the counters of a signal's records that are not 0; asserts that they balance."""
    of = f"{UNITS[signal]}_"
    counts = {name: int(value) for name, value in health.snapshot().items() if name.startswith(of) and value}
    assert balanced(health, signal), counts
    return counts


def counted(signal: Signal, **counts: int) -> dict[str, int]:
    """Return counts under the names of the signal's unit: ``captured=5`` as ``points_captured``."""
    return {f"{UNITS[signal]}_{end}": count for end, count in counts.items()}


def balanced(health: Health, signal: Signal = "logs") -> bool:
    """Tell whether every captured record is in exactly one place."""
    unit = UNITS[signal]
    ended = sum(health.count(f"{unit}_{end}") for end in ("exported", "rejected", "dropped"))
    pending = int(health.snapshot().get(f"{unit}_pending", 0))
    return health.count(f"{unit}_captured") == ended + pending


def eventually(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait until ``holds()``."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.005)
