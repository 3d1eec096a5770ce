"""The account that every delivery test closes with."""

import time
from collections.abc import Callable

import numpy as np
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from natlens.health import Health
from natlens.otlp.record import encode
from natlens.otlp.resource import Observer, resource
from tests.otlp.batches import batch_of, connection

__all__ = ["account", "balanced", "eventually", "request_of", "sequences"]

RESOURCE = resource(Observer(host_name="node-1"))


def request_of(count: int, first: int = 0) -> ExportLogsServiceRequest:
    """Return a request of ``count`` records with sequence numbers from ``first``."""
    rows = np.repeat(connection(), count)
    rows["sequence"] = np.arange(first, first + count)
    return encode(batch_of(rows), RESOURCE)


def sequences(records: list[LogRecord]) -> list[int]:
    """Return the records' sequence numbers."""
    return [one.value.int_value for record in records for one in record.attributes if one.key == "flow.sequence"]


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
