"""The reference encoder: a batch as opentelemetry-proto messages.

Plain on purpose: faster encoders are tested against it.
"""

from collections.abc import Iterable
from typing import Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import SEVERITY_NUMBER_INFO, LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from natlens import __version__
from natlens.otlp import attributes, body
from natlens.otlp.batch import Batch
from natlens.otlp.columns import Value

__all__ = ["EVENT_NAME", "REQUEST_BYTES", "SCHEMA_URL", "SCOPE_NAME", "encode", "key_value", "records", "split"]

EVENT_NAME: Final = "flow.connection"
SCOPE_NAME: Final = "natlens"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
REQUEST_BYTES: Final = 4_000_000
"""Default limit of a request: gRPC receivers take 4 MiB, which includes some framing of their own."""


def encode(batch: Batch, resource: Resource) -> ExportLogsServiceRequest:
    """Return one request with one record a connection, in the batch's order.

    The same batch gives the same bytes. Lone surrogates in names are replaced by U+FFFD, counters
    above the largest int64 are encoded as that.
    """
    request = ExportLogsServiceRequest()
    of_resource = request.resource_logs.add(resource=resource, schema_url=SCHEMA_URL)
    of_scope = of_resource.scope_logs.add(schema_url=SCHEMA_URL)
    of_scope.scope.name, of_scope.scope.version = SCOPE_NAME, __version__
    encoded = [_record(batch, line) for line in body.lines(batch)]
    for attribute in attributes.ATTRIBUTES:
        for record, value in zip(encoded, attribute.read(batch), strict=True):
            if value is not None:
                record.attributes.append(key_value(attribute.name, value))
    of_scope.log_records.extend(encoded)
    return request


def records(request: ExportLogsServiceRequest) -> Iterable[LogRecord]:
    """Yield every log record of a request."""
    for of_resource in request.resource_logs:
        for of_scope in of_resource.scope_logs:
            yield from of_scope.log_records


def split(
    request: ExportLogsServiceRequest, limit_bytes: int = REQUEST_BYTES
) -> tuple[list[ExportLogsServiceRequest], list[LogRecord]]:
    """Cut an encoded batch into requests of at most ``limit_bytes`` serialized, records in order.

    ``request`` is what :func:`encode` gives: one resource, one scope. Returns the requests, and the
    records that are too large even alone, for the caller to count.
    """
    if request.ByteSize() <= limit_bytes:
        return [request], []
    envelope = _envelope(request)
    requests: list[ExportLogsServiceRequest] = []
    oversized: list[LogRecord] = []
    held: list[LogRecord] = []
    size = 0
    for record in records(request):
        cost = _field_bytes(record.ByteSize())
        if _request_bytes(envelope, cost) > limit_bytes:
            oversized.append(record)
            continue
        if _request_bytes(envelope, size + cost) > limit_bytes:
            requests.append(_fill(envelope, held))
            held, size = [], 0
        held.append(record)
        size += cost
    return requests + ([_fill(envelope, held)] if held else []), oversized


def key_value(key: str, value: Value) -> KeyValue:
    """Return an attribute as a message; raises ``ValueError`` for text that UTF-8 cannot carry."""
    return KeyValue(key=key, value=_any_value(value))


def _record(batch: Batch, line: str) -> LogRecord:
    return LogRecord(
        time_unix_nano=batch.interval_end_ns,
        observed_time_unix_nano=batch.observed_ns,
        severity_number=SEVERITY_NUMBER_INFO,
        severity_text="INFO",
        event_name=EVENT_NAME,
        body=AnyValue(string_value=line),
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
        case list():
            return AnyValue(array_value=ArrayValue(values=[_any_value(one) for one in value]))


def _envelope(request: ExportLogsServiceRequest) -> ExportLogsServiceRequest:
    envelope = ExportLogsServiceRequest()
    old = request.resource_logs[0]
    new = envelope.resource_logs.add(resource=old.resource, schema_url=old.schema_url)
    new.scope_logs.add(scope=old.scope_logs[0].scope, schema_url=old.scope_logs[0].schema_url)
    return envelope


def _fill(envelope: ExportLogsServiceRequest, with_records: list[LogRecord]) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    request.CopyFrom(envelope)
    request.resource_logs[0].scope_logs[0].log_records.extend(with_records)
    return request


def _request_bytes(envelope: ExportLogsServiceRequest, record_bytes: int) -> int:
    """Return the serialized size of ``envelope`` with records that take ``record_bytes``, tags and lengths included."""
    of_resource = envelope.resource_logs[0]
    of_scope = of_resource.scope_logs[0]
    around_scope = of_resource.ByteSize() - _field_bytes(of_scope.ByteSize())
    return _field_bytes(around_scope + _field_bytes(of_scope.ByteSize() + record_bytes))


def _field_bytes(size: int) -> int:
    """Return what an embedded message of ``size`` takes: a tag of one byte, the length as varint, itself."""
    return 1 + (max(size.bit_length(), 1) + 6) // 7 + size
