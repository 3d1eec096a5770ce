"""A node with the Services of a small shop, and one call of each kind with the record that it must become."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from natlens.ui.lab.nat import NftablesNat
from natlens.ui.lab.node import Node, Pod
from natlens.ui.lab.objects import manifest
from natlens.ui.lab.packets import ICMP, TCP, UDP, Directed
from natlens.ui.lab.traffic import TcpServer, UdpServer, exchange, ping, talk, udp_socket
from natlens.ui.lab.wire import Count, Wire
from tests.collector.records import LogRecord

__all__ = ["DNS", "NODE_PORT", "SERVICE", "Expected", "Shop", "counted", "told"]

SERVICE, SERVICE6, DNS, NODE_PORT = "10.96.0.10", "fd00:96::10", "10.96.0.53", 30080
WEB, NAMESERVER = 8080, 5353
TRANSPORTS = {"tcp": TCP, "udp": UDP, "icmp": ICMP}


@dataclass(frozen=True)
class Expected:
    """A connection and what its record must say beside the counts, which come from the tap ``seen_at``."""

    seen_at: str
    original: Directed
    attributes: dict[str, Any]

    def matches(self, record: LogRecord) -> bool:
        return told(record["attributes"]) == self.original


def told(attributes: dict[str, Any]) -> Directed:
    """Return the tuple that a record is about, as the initiator dialled it."""
    if attributes["network.transport"].startswith("icmp"):
        kind = attributes["flow.icmp.type.id"] << 8 | attributes["flow.icmp.code.id"]
        ports = attributes.get("flow.icmp.id", 0), kind
    else:
        ports = attributes["source.port"], attributes["destination.port"]
    addresses = attributes["source.address"], attributes["destination.address"]
    return Directed(addresses[0], ports[0], addresses[1], ports[1], attributes["network.iana_number"])


def named(role: str, kind: str, name: str) -> dict[str, Any]:
    """Return the attributes that name a pod or a Service of the shop in one role."""
    return {
        f"{role}.k8s.namespace.name": "shop",
        f"{role}.k8s.{kind}.name": name,
        f"{role}.k8s.{kind}.uid": f"uid-{name}",
        f"{role}.k8s.object.kind": kind,
    }


class Shop:
    """The node; a context manager. ``identity`` is the manifest's text."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.node = Node()
        self._stack.callback(self.node.close)
        self.namespace = self.node.namespace
        self.web, self.dns = self.node.pod("web-1"), self.node.pod("dns-1")
        self.client = self.node.pod("client-1")
        self.outside = self.node.outside
        self._serve()
        self.identity = manifest(
            node=(self.node.ip, self.node.ip6),
            pods={pod.name: (pod.ip, pod.ip6) for pod in (self.web, self.dns, self.client)},
            services={
                "web": ((SERVICE, SERVICE6), "TCP", 80, WEB, NODE_PORT, [self.web.name]),
                "dns": ((DNS,), "UDP", 53, NAMESERVER, None, [self.dns.name]),
            },
        )

    def _serve(self) -> None:
        nat = NftablesNat(self.node)
        nat.service(SERVICE, "tcp", 80, [(self.web.ip, WEB)])
        nat.service(SERVICE6, "tcp", 80, [(self.web.ip6, WEB)])
        nat.service(self.node.ip, "tcp", NODE_PORT, [(self.web.ip, WEB)], masquerade=True)
        nat.service(DNS, "udp", 53, [(self.dns.ip, NAMESERVER)])
        nat.masquerade(device="eth0")
        self._stack.enter_context(TcpServer(self.web.namespace, WEB))
        self._stack.enter_context(UdpServer(self.dns.namespace, NAMESERVER))

    def identity_file(self, directory: Path) -> str:
        """Write the objects into a file; returns the option that names it."""
        path = directory / "objects.json"
        path.write_text(self.identity)
        return f"--identity-file={path}"

    def wire(self) -> Wire:
        """Return a count of what the initiators see."""
        wire = Wire()
        for pod in (self.client, self.outside):
            wire.tap(pod.name, pod.namespace)
        return wire

    def call(self) -> int:
        """Make one short connection through the Service; returns the client's port."""
        return talk(self.client.namespace, (SERVICE, 80), 100)

    def calls(self) -> Iterator[Expected]:
        """Make one connection of each kind."""
        web = {"destination.nat.address": self.web.ip, "destination.nat.port": WEB}
        yield self._tcp(self.client, SERVICE, 80, {"nat.kind": "dnat", **web})
        web6 = {"destination.nat.address": self.web.ip6, "destination.nat.port": WEB}
        yield self._tcp(self.client, SERVICE6, 80, {"nat.kind": "dnat", "network.type": "ipv6", **web6})
        masqueraded = {"nat.kind": "dnat+snat", "source.nat.address": self.web.gateway, **web}
        yield self._tcp(self.outside, self.node.ip, NODE_PORT, masqueraded)
        yield self._tcp(self.client, self.web.ip, WEB, named("destination", "pod", "web-1"), service=False)
        yield self._udp()
        yield self._ping()

    def _tcp(self, client: Pod, to: str, port: int, attributes: dict[str, Any], *, service: bool = True) -> Expected:
        own = client.ip6 if ":" in to else client.ip
        original = Directed(own, talk(client.namespace, (to, port), 3000), to, port, TCP)
        names = {} if client is self.outside else named("source", "pod", client.name)
        if service:
            names |= named("destination", "service", "web") | named("destination.nat", "pod", "web-1")
        ended = {"flow.connection.state": "closed", "flow.end_reason": "end_of_flow_detected"}
        return Expected(client.name, original, {"network.transport": "tcp", **ended, **names, **attributes})

    def _udp(self) -> Expected:
        with udp_socket(self.client.namespace, (DNS, 53)) as resolver:
            exchange(resolver, 64)
            original = Directed(self.client.ip, resolver.getsockname()[1], DNS, 53, UDP)
        names = named("source", "pod", "client-1") | named("destination", "service", "dns")
        names |= named("destination.nat", "pod", "dns-1")
        answered = {"network.transport": "udp", "nat.kind": "dnat", "destination.nat.address": self.dns.ip}
        return Expected("client-1", original, {**answered, **names, "destination.nat.port": NAMESERVER})

    def _ping(self) -> Expected:
        ping(self.client.namespace, self.outside.ip, 77)
        original = Directed(self.client.ip, 77, self.outside.ip, 8 << 8, ICMP)
        answered = {"network.transport": "icmp", "nat.kind": "snat", "source.nat.address": self.node.ip}
        return Expected("client-1", original, {**answered, **named("source", "pod", "client-1")})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def counted(wire: Wire, expected: Expected) -> dict[str, int]:
    """Return the totals that a tap makes of an expected connection."""
    counts = wire.counts(expected.seen_at)
    forward, reverse = (counts.get(one, Count()) for one in (expected.original, expected.original.turned()))
    return {
        "flow.bytes.total": forward.octets,
        "flow.packets.total": forward.packets,
        "flow.reverse.bytes.total": reverse.octets,
        "flow.reverse.packets.total": reverse.packets,
    }
