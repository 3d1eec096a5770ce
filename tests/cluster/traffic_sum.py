"""Connections made all at once and measured on the wire where they begin, and the agents that look on."""

import socket
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.packets import ICMP, ICMP6, TCP, UDP, Directed
from natlens.ui.lab.traffic import TcpServer, UdpServer, dial, exchange, ping, udp_socket
from natlens.ui.lab.wire import Wire
from tests.cluster.agents import Agents
from tests.cluster.api import Json
from tests.cluster.calling import Stage
from tests.cluster.cluster import Cluster
from tests.cluster.network import Host
from tests.cluster.nodes import ClusterNode
from tests.cluster.pods import ClusterPod
from tests.cluster.services import Port
from tests.cluster.sum_of_records import Made, Sums, read_conntrack

__all__ = ["AT_ONCE", "At", "Held", "Place", "Row", "Traffic", "cluster_ip", "counted", "node_port", "on"]

Place = ClusterPod | ClusterNode | Host
AT_ONCE = 8
"""Connections that are made at the same time."""
DATAGRAM = 1000
FIRST_IDENTIFIER = 1000  # of ICMP echo requests
TCP_ROWS = "tcp", "greeting"


class At(NamedTuple):
    """Where something listens, in both families; an empty address leaves one out."""

    ip: str
    ip6: str
    port: int


class Row(NamedTuple):
    """Connections of one kind; ``way`` is ``a source*``, ``b destination``: node, flow.reporter, * where it counts."""

    what: str
    source: Place
    to: At
    way: tuple[str, ...]
    transport: str = (
        "tcp"  # or udp, "silent" for UDP that nobody answers, "greeting" for TCP without data, "echo" for ICMP
    )


class Held:
    """A TCP connection, or UDP with answers, that stays."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client

    def say(self, octets: int = 100) -> None:
        """Send that much and wait until it has come back."""
        exchange(self._client, octets)

    @property
    def is_tcp(self) -> bool:
        """Whether it is no datagrams."""
        return self._client.type == socket.SOCK_STREAM

    def close(self) -> None:
        """Say goodbye."""
        with self._client as client:
            if self.is_tcp:
                client.shutdown(socket.SHUT_WR)
                while client.recv(1 << 16):
                    pass


class Traffic:
    """Makes connections while agents look on; everything that may initiate has to be tapped before."""

    def __init__(self, cluster: Cluster, agents: Agents, nodes: Sequence[str]) -> None:
        self.cluster, self.agents = cluster, agents
        self._nodes = nodes
        self.stage = Stage(cluster, agents)
        self.made: list[Made] = []
        self._pods: dict[str, tuple[str, str]] = {}
        self._wire = Wire()
        self._identifiers = count(FIRST_IDENTIFIER)
        self._stack = ExitStack()

    def tap(self, *places: Place, device: str = "eth0") -> None:
        """Measure what these initiate by a device."""
        for place in places:
            self._wire.tap(_name(place, device), network_of(place), device)
            if isinstance(place, ClusterPod):
                self._pods |= dict.fromkeys((place.ip, place.ip6), (place.name, place.node.name))

    def listen(self, place: Place, port: int, transport: str = "tcp", address: str = "::") -> None:
        """Echo; ``silent`` is UDP without answers, which have the right source only if ``address`` is given."""
        network = network_of(place)
        if transport == "tcp":
            self._stack.enter_context(TcpServer(network, port, address))
        else:
            self._stack.enter_context(UdpServer(network, port, address, answers=transport == "udp"))

    def expose(self, name: str, pods: list[ClusterPod], *ports: Port, **more: Any) -> Json:
        """Make a Service, and wait until every node's kube-proxy sends its calls to these pods."""
        return self.stage.expose(name, pods, *ports, **more)

    def make(self, rows: Iterable[Row], *octets: int, at_once: int = AT_ONCE) -> None:
        """Make a connection for each row, family and number of octets, many at once."""
        calls = [
            partial(self._call, row, address, size)
            for size in octets or (100,)
            for row in rows
            for address in (row.to.ip, row.to.ip6)
            if address
        ]
        with ThreadPoolExecutor(at_once) as pool:
            for done in [pool.submit(call) for call in calls]:
                done.result()

    def _call(self, row: Row, address: str, octets: int) -> None:
        if row.transport == "echo":
            self._ping(row, address, octets)
            return
        held = Held(client := self._dial(row, address))
        match row.transport:
            case "tcp":
                held.say(octets)
            case "udp":
                held.say(min(octets, DATAGRAM))
            case "silent":
                for _ in range(3):
                    client.send(b"x" * min(octets, DATAGRAM))
        if row.transport in TCP_ROWS:  # a UDP port is to be nobody else's later
            held.close()

    def _ping(self, row: Row, address: str, octets: int) -> None:
        identifier, own = next(self._identifiers), row.source.ip6 if ":" in address else row.source.ip
        request, proto = (128, ICMP6) if ":" in address else (8, ICMP)
        self._note(row, Directed(own, identifier, address, request << 8, proto))
        ping(network_of(row.source), address, identifier, octets=min(octets, DATAGRAM))

    def hold(self, row: Row, address: str = "") -> Held:
        """Make a connection that stays, to the IPv4 address if none is given."""
        return Held(self._dial(row, address or row.to.ip))

    def _dial(self, row: Row, address: str) -> socket.socket:
        tcp = row.transport in TCP_ROWS
        client = (dial if tcp else udp_socket)(network_of(row.source), (address, row.to.port))
        self._stack.callback(client.close)
        own, port = client.getsockname()[:2]
        self._note(row, Directed(own, port, address, row.to.port, TCP if tcp else UDP))
        return client

    def _note(self, row: Row, dialled: Directed) -> None:
        self.made.append(Made(row.what, self._taps(row.source), dialled, row.way, _node(row.source)))

    def _taps(self, source: Place) -> tuple[str, ...]:
        """Return where its packets pass first; a node's may leave by its own card or go straight to a pod of its."""
        names = self._wire.names()
        own = tuple(name for name in names if name.startswith(_name(source)))
        if _node(source):
            return own + tuple(name for name in names if name not in own)
        return own

    def settle(self, quiet: float = 0.1) -> None:
        """Wait until nothing has passed for so many seconds."""
        self._wire.settle(quiet)

    def restart(self) -> None:
        """Let the agents leave and others come; nothing passes meanwhile."""
        self.settle()
        self.agents.stop()
        for node in self._nodes:
            self.agents.start(node)

    def sums(self) -> Sums:
        """Let the agents leave, and return what they said and what was measured."""
        self.settle()
        nodes = self.cluster.nodes
        entries = {name: read_conntrack(node) for name, node in nodes.items()}
        self.agents.stop()
        self._wire.verify()
        counts = {name: self._wire.counts(name) for name in self._wire.names()}
        records = {name: [one["attributes"] for one in self.agents.records(name)] for name in self._nodes}
        return Sums(self.made, counts, entries, records, self._pods)

    def close(self) -> None:
        """Stop listening and measuring."""
        self._stack.close()
        self._wire.close()


def network_of(place: Place) -> Namespace:
    """Return the namespace of a pod, a node or a host."""
    return place.network if isinstance(place, ClusterPod) else place.namespace


def _name(place: Place, device: str = "") -> str:
    return f"{network_of(place).name} {device}"


def _node(place: Place) -> str:
    """Return the node whose network it is that calls, empty for other pods and hosts."""
    if isinstance(place, ClusterNode):
        return place.name
    if isinstance(place, ClusterPod) and place.network is place.node.namespace:
        return place.node.name
    return ""


def on(place: Place, port: int) -> At:
    """Return where a pod, a node or a host listens."""
    return At(place.ip, place.ip6, port)


def cluster_ip(service: Json, index: int = 0) -> At:
    """Return a Service's cluster addresses and one of its ports."""
    ip, ip6 = [*service["spec"]["clusterIPs"], ""][:2]
    return At(ip, ip6, int(service["spec"]["ports"][index]["port"]))


def node_port(node: ClusterNode, service: Json, index: int = 0) -> At:
    """Return a Service's port on a node."""
    return At(node.ip, node.ip6, int(service["spec"]["ports"][index]["nodePort"]))


@contextmanager
def counted(
    cluster: Cluster, directory: Path, *arguments: str, nodes: tuple[str, ...] = ("node-a", "node-b")
) -> Iterator[Traffic]:
    """Run natlens on nodes and measure; pods and Services are taken away in the end."""
    with ExitStack() as stack:
        stack.callback(cluster.clear)
        agents = stack.enter_context(Agents(cluster, directory, *arguments, nodes=nodes))
        traffic = Traffic(cluster, agents, nodes)
        stack.callback(traffic.close)
        yield traffic
