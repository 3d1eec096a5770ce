"""What a scenario's connections are in each signal, by the code that the agent runs; all must tell the same."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from natlens.config import Options
from natlens.exports import Exports
from natlens.flows.connection import EndReason
from natlens.health import Health
from natlens.identity.naming import Anonymous, name_ends
from natlens.otlp.batch import Batch
from natlens.otlp.metrics.settings import metric_settings
from natlens.otlp.request import Request
from tests.scenarios.record import Record

__all__ = ["Signals"]

OPTIONS = Options(signals=["logs", "metrics", "traces"], metrics_attributes=["destination.port", "network.transport"])
BOTH = "bytes", "packets", "reverse.bytes", "reverse.packets"

Sums = Counter[str]


class Signals:
    """Log records, metrics and spans of the connections that it is given."""

    def __init__(self) -> None:
        self._requests: list[Request] = []
        self._exports = Exports(
            OPTIONS, metric_settings(OPTIONS, {}), {one: [self] for one in OPTIONS.signals}, Health(), time.time_ns()
        )

    def send(self, request: Request) -> None:
        self._requests.append(request)

    def flush(self, deadline: float) -> None:
        """Nothing is pending."""

    def close(self) -> None:
        """Nothing is open."""

    def put(self, connections: npt.NDArray[np.void], devices: Mapping[int, str], end_ns: int) -> None:
        """Take one window's connections."""
        ends = name_ends(connections, Anonymous())
        self._exports.put(Batch(connections, *ends, devices, end_ns, time.time_ns()))

    def check(self, records: Sequence[Record]) -> None:
        """Check that all signals tell what ``records`` do."""
        self._exports.collect(time.time_ns())
        ended = {one.flow_id: one for one in records if one.end_reason != EndReason.ACTIVE_TIMEOUT}
        assert self._logs() == _deltas(records) + Counter(records=len(records))
        assert self._metrics() == _deltas(records) + Counter(
            new=sum(one.sequence == 0 for one in records),
            ended=sum(one.end_reason != EndReason.ACTIVE_TIMEOUT for one in records),
        )
        assert self._spans() == _deltas([one for one in records if one.flow_id in ended]) + Counter(spans=len(ended))

    def _logs(self) -> Sums:
        found: Sums = Counter()
        for message in self._messages("logs", ExportLogsServiceRequest):
            for record in message.resource_logs[0].scope_logs[0].log_records:
                found += Counter(records=1) + _told(record.attributes)
        return found

    def _spans(self) -> Sums:
        found: Sums = Counter()
        for message in self._messages("traces", ExportTraceServiceRequest):
            for span in message.resource_spans[0].scope_spans[0].spans:
                found += Counter(spans=1) + _told(span.attributes)
        return found

    def _metrics(self) -> Sums:
        """Return the sums of the last points of each series."""
        last: dict[tuple[str, str, str, int], int] = {}
        for message in self._messages("metrics", ExportMetricsServiceRequest):
            for metric in message.resource_metrics[0].scope_metrics[0].metrics:
                for point in [*metric.sum.data_points, *metric.histogram.data_points]:
                    of = {one.key: one.value for one in point.attributes}
                    direction = of.pop("flow.direction").string_value if "flow.direction" in of else ""
                    value = point.as_int if metric.HasField("sum") else point.count
                    last[metric.name, direction, str(sorted(of.items())), point.start_time_unix_nano] = value
        found: Sums = Counter()
        for (name, direction, *_), value in last.items():
            found[NAMES[name, direction]] += value
        return +found

    def _messages(self, signal: str, kind: Any) -> list[Any]:
        return [kind.FromString(one.data) for one in self._requests if one.signal == signal]


NAMES = {
    ("flow.io", "forward"): "bytes",
    ("flow.io", "reverse"): "reverse.bytes",
    ("flow.packet.count", "forward"): "packets",
    ("flow.packet.count", "reverse"): "reverse.packets",
    ("flow.connection.count", ""): "new",
    ("flow.duration", ""): "ended",
}


def _told(attributes: Sequence[KeyValue]) -> Sums:
    values = {one.key: one.value.int_value for one in attributes}
    return +Counter({name: values.get(f"flow.{name}.delta", 0) for name in BOTH})


def _deltas(records: Sequence[Record]) -> Sums:
    found: Sums = Counter()
    for one in records:
        for way, count in (("", one.forward), ("reverse.", one.reverse)):
            found[f"{way}bytes"] += count.octets
            found[f"{way}packets"] += count.packets
    return +found
