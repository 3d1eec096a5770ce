"""The reference encoder: a batch as opentelemetry-proto messages.

Plain on purpose: what really encodes, :mod:`natlens.otlp.encoder`, is tested against it.
"""

from collections.abc import Iterable
from typing import Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import SEVERITY_NUMBER_INFO, LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from natlens import __version__
from natlens.otlp import body
from natlens.otlp.arrange import arrange
from natlens.otlp.batch import Batch
from natlens.otlp.column import Value

__all__ = ["EVENT_NAME", "SCHEMA_URL", "SCOPE", "SCOPE_NAME", "TRACE_FLAGS", "blank", "encode", "key_value", "records"]

EVENT_NAME: Final = "flow.connection"
SCOPE_NAME: Final = "natlens"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
SCOPE: Final = InstrumentationScope(name=SCOPE_NAME, version=__version__)
TRACE_FLAGS: Final = 0x03
"""Of a record whose span is sent, and of the span: sampled, random trace id (W3C Trace Context Level 2)."""


def encode(batch: Batch, resource: Resource) -> ExportLogsServiceRequest:
    """Return one request with one record a connection, in the batch's order.

    The same batch gives the same bytes. Lone surrogates in names are replaced by U+FFFD, counters
    above the largest int64 are encoded as that.
    """
    request = ExportLogsServiceRequest()
    of_resource = request.resource_logs.add(resource=resource, schema_url=SCHEMA_URL)
    of_scope = of_resource.scope_logs.add(scope=SCOPE, schema_url=SCHEMA_URL)
    encoded = [blank(batch) for _ in range(len(batch))]
    for record, line, attributes in zip(encoded, body.lines(batch), arrange(batch).rows(len(batch)), strict=True):
        record.body.string_value = line
        record.attributes.extend(key_value(name, value) for name, value in attributes)
    if batch.trace is not None:
        for record, trace_id, span_id, sampled in zip(encoded, *batch.trace, strict=True):
            if sampled:
                record.trace_id, record.span_id, record.flags = bytes(trace_id), bytes(span_id), TRACE_FLAGS
    of_scope.log_records.extend(encoded)
    return request


def records(request: ExportLogsServiceRequest) -> Iterable[LogRecord]:
    """Yield every log record of a request."""
    for of_resource in request.resource_logs:
        for of_scope in of_resource.scope_logs:
            yield from of_scope.log_records


def key_value(key: str, value: Value) -> KeyValue:
    """Return an attribute as a message; raises ``ValueError`` for text that UTF-8 cannot carry."""
    return KeyValue(key=key, value=_any_value(value))


def blank(batch: Batch) -> LogRecord:
    """Return what all records of a batch have in common."""
    return LogRecord(
        time_unix_nano=batch.interval_end_ns,
        observed_time_unix_nano=batch.observed_ns,
        severity_number=SEVERITY_NUMBER_INFO,
        severity_text="INFO",
        event_name=EVENT_NAME,
    )


def _any_value(value: Value) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case str():
            return AnyValue(string_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case tuple():
            return AnyValue(array_value=ArrayValue(values=[_any_value(one) for one in value]))
