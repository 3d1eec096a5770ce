"""Requests as natlens and the Collector write them, from plain attributes."""

from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from natlens.otlp.record import key_value

TIME_NS = 1_764_000_009_250_000_001

TRANSLATED: dict[str, Any] = {
    "source.address": "10.1.0.5",
    "source.port": 40312,
    "source.k8s.namespace.name": "web",
    "source.k8s.pod.name": "client-1",
    "source.nat.address": "192.168.0.1",
    "source.nat.port": 61544,
    "destination.address": "10.96.0.1",
    "destination.port": 80,
    "destination.k8s.namespace.name": "shop",
    "destination.k8s.service.name": "hello",
    "destination.nat.address": "10.1.0.9",
    "destination.nat.port": 8080,
    "destination.nat.k8s.namespace.name": "shop",
    "destination.nat.k8s.pod.name": "hello-7d4b9",
    "nat.kind": "dnat+snat",
    "network.transport": "tcp",
    "network.interface.name": "veth0",
    "flow.bytes.delta": 420,
    "flow.reverse.bytes.delta": 96120,
    "flow.packets.delta": 7,
    "flow.reverse.packets.delta": 71,
    "flow.connection.state": "closed",
    "flow.duration": 1.5,
    "flow.sequence": 0,
    "flow.id": "8f1c6a0e5b7d42938f1c6a0e5b7d4293",
    "flow.tcp.flags.tags": ("SYN", "ACK"),
}
PLAIN: dict[str, Any] = {
    "source.address": "fd00::5",
    "destination.address": "fd00::9",
    "destination.port": 53,
    "network.transport": "udp",
    "flow.connection.state": "open",
}


def request(*records: dict[str, Any], event_name: str = "flow.connection") -> ExportLogsServiceRequest:
    """Return one request with a record for each set of attributes."""
    found = ExportLogsServiceRequest()
    scope = found.resource_logs.add().scope_logs.add()
    for attributes in records:
        scope.log_records.add(
            time_unix_nano=TIME_NS,
            event_name=event_name,
            body=AnyValue(string_value="a → b"),
            attributes=[key_value(name, value) for name, value in attributes.items()],
        )
    return found
