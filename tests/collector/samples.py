"""Records of every attribute type, and the request that carries them."""

from collections.abc import Mapping, Sequence

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs, SeverityNumber
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tests.collector import records

__all__ = ["RECORDS", "RESOURCE", "Value", "request", "typed"]

Value = str | bool | int | float | list[str]

RESOURCE: dict[str, Value] = {"k8s.node.name": "node-1", "service.name": "natlens"}
RECORDS: list[dict[str, Value]] = [
    {"string": "10.96.0.10 → ⎈", "string.empty": ""},
    {"int.zero": 0, "int.beyond.double": 2**53 + 1, "int.max": 2**63 - 1, "int.min": -(2**63)},
    {"double": 0.1, "double.whole": 3.0, "double.huge": 1.7976931348623157e308, "double.tiny": 5e-324},
    {"bool.true": True, "bool.false": False},
    {"strings": ["SYN", "ACK", ""], "strings.empty": []},
    {},
]


def request(attributes: Sequence[Mapping[str, Value]] = RECORDS) -> ExportLogsServiceRequest:
    """Return a request with one record for each set of attributes."""
    logs = [
        LogRecord(
            time_unix_nano=2**60 + number,
            observed_time_unix_nano=2**60 + 2**54 + number,
            severity_number=SeverityNumber.SEVERITY_NUMBER_INFO,
            severity_text="INFO",
            event_name="natlens.connection",
            body=AnyValue(string_value=f"record {number}"),
            attributes=_key_values(record),
        )
        for number, record in enumerate(attributes)
    ]
    scope = InstrumentationScope(name="natlens", version="1.2.3", attributes=_key_values({"exact": True}))
    of_scope = ScopeLogs(scope=scope, log_records=logs)
    return ExportLogsServiceRequest(
        resource_logs=[ResourceLogs(resource=Resource(attributes=_key_values(RESOURCE)), scope_logs=[of_scope])]
    )


def typed(received: Sequence[records.LogRecord]) -> list[dict[str, tuple[type, object]]]:
    """Return the records' attributes with their types: True == 1 == 1.0."""
    return [{key: (type(value), value) for key, value in one["attributes"].items()} for one in received]


def _key_values(attributes: Mapping[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_any_value(value)) for key, value in attributes.items()]


def _any_value(value: Value) -> AnyValue:
    match value:
        case str():
            return AnyValue(string_value=value)
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case list():
            return AnyValue(array_value=ArrayValue(values=[_any_value(item) for item in value]))
