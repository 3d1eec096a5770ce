"""The account that every delivery test closes with."""

import time
from collections.abc import Callable, Iterable

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from natlens.health import Health
from natlens.otlp.record import records
from natlens.otlp.request import Request

__all__ = ["account", "balanced", "eventually", "parsed", "records_of", "request_of", "sequences"]


def request_of(count: int, first: int = 0, record_bytes: int = 0) -> Request:
    """Return a request of ``count`` records with sequence numbers from ``first``, each of about ``record_bytes``."""
    message = ExportLogsServiceRequest()
    of_resource = message.resource_logs.add(schema_url="https://opentelemetry.io/schemas/1.44.0")
    of_resource.resource.attributes.append(KeyValue(key="host.name", value=AnyValue(string_value="node-1")))
    of_scope = of_resource.scope_logs.add()
    of_scope.scope.name = "natlens"
    for number in range(first, first + count):
        record = of_scope.log_records.add(time_unix_nano=number, event_name="flow.connection")
        record.attributes.append(KeyValue(key="flow.sequence", value=AnyValue(int_value=number)))
        record.body.string_value = "x" * record_bytes
    return Request(message.SerializeToString(), count)


def parsed(data: bytes) -> ExportLogsServiceRequest:
    """Return a serialized request as a message."""
    return ExportLogsServiceRequest.FromString(data)


def records_of(data: bytes) -> list[LogRecord]:
    """Return the records of a serialized request."""
    return list(records(parsed(data)))


def sequences(of: Iterable[LogRecord]) -> list[int]:
    """Return the records' sequence numbers."""
    return [one.value.int_value for record in of for one in record.attributes if one.key == "flow.sequence"]


def account(health: Health) -> dict[str, int]:
    """Return the counters of records that are not 0; asserts that they balance."""
    counts = {name: int(value) for name, value in health.snapshot().items() if name.startswith("records_") and value}
    assert balanced(health), counts
    return counts


def balanced(health: Health) -> bool:
    """Tell whether every captured record is in exactly one place."""
    ended = sum(health.count(f"records_{end}") for end in ("exported", "rejected", "dropped"))
    pending = int(health.snapshot().get("records_pending", 0))
    return health.count("records_captured") == ended + pending


def eventually(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait until ``holds()``."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.005)
