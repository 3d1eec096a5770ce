"""OTLP log records as plain attributes."""

from collections.abc import Iterator
from typing import NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from natlens.otlp.record import EVENT_NAME, records

__all__ = ["Record", "Value", "read_records"]

Value = str | int | float | bool | bytes | list["Value"] | dict[str, "Value"] | None


class Record(NamedTuple):
    """One connection record; ``time_ns`` is the end of its interval in Unix time."""

    time_ns: int
    body: str
    attributes: dict[str, Value]


def read_records(request: ExportLogsServiceRequest) -> Iterator[Record]:
    """Yield the connection records of a request; other events and plain logs are left out.

    Some stores and Collector pipelines drop the event's name: then the attributes tell.
    """
    for record in records(request):
        if record.event_name in {EVENT_NAME, ""}:
            attributes = {one.key: _value(one.value) for one in record.attributes}
            if "source.address" in attributes:
                yield Record(record.time_unix_nano, record.body.string_value, attributes)


def _value(value: AnyValue) -> Value:
    match value.WhichOneof("value"):
        case "array_value":
            return [_value(one) for one in value.array_value.values]
        case "kvlist_value":
            return {one.key: _value(one.value) for one in value.kvlist_value.values}
        case None:
            return None
        case kind:
            plain: Value = getattr(value, kind)
            return plain
