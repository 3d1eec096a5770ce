"""The cluster's network: nodes, control plane and the world outside on one segment, pods routed behind the nodes."""

import itertools
import os
from contextlib import ExitStack
from typing import NamedTuple, Self

from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.node import QUIET, Node
from tests.cluster.nodes import SEGMENTS, ClusterNode

__all__ = ["CONTROL", "OUTSIDE", "Host", "Network"]

CONTROL, OUTSIDE = 100, 200  # the last part of their addresses; nodes count from 1
_numbers = itertools.count()


class Host(NamedTuple):
    """A machine on the segment that is no node: the control plane's, or a client's outside."""

    name: str
    namespace: Namespace
    ip: str
    ip6: str


class Network:
    """A bridge a segment, and what is plugged in; as a context manager it leaves nothing behind.

    The control plane is 192.0.2.100 and 2001:db8::64, the world outside 192.0.2.200 and 2001:db8::c8, nodes count from
    192.0.2.1 and 2001:db8::1. Everybody has routes to the pods through their nodes.
    """

    def __init__(self) -> None:
        self._prefix = f"nlc{os.getpid()}-{next(_numbers)}"
        self._made: list[Namespace] = []
        self.nodes: list[ClusterNode] = []
        with ExitStack() as stack:
            stack.callback(self.close)
            self._connect()
            stack.pop_all()

    def _connect(self) -> None:
        self._wire = self._namespace("wire")
        for segment in range(len(SEGMENTS)):
            self._wire.ip(f"link add br{segment} type bridge mcast_snooping 0\nlink set br{segment} up")
        self.control = self.add_host("control", CONTROL)
        self.outside = self.add_host("outside", OUTSIDE)
        self.plug(self.outside.namespace, "eth1", OUTSIDE, segment=1)

    def _namespace(self, name: str) -> Namespace:
        namespace = Namespace(f"{self._prefix}-{name}")
        self._made.append(namespace)
        namespace.sysctl(**QUIET)
        return namespace

    def add_host(self, name: str, number: int, *, segment: int = 0) -> Host:
        """Add a machine that is no node; it has routes to its segment only."""
        host = Host(name, self._namespace(name), *(str(net[number]) for net in SEGMENTS[segment]))
        self.plug(host.namespace, "eth0", number, segment=segment)
        return host

    def remove_host(self, host: Host) -> None:
        """Unplug a machine."""
        self._made.remove(host.namespace)
        host.namespace.remove()

    def plug(self, namespace: Namespace, device: str, number: int, *, segment: int = 0) -> None:
        """Give a namespace a network card with an address of each family on a segment."""
        port = f"port{next(_numbers)}"
        self._wire.ip(f"link add {port} type veth peer name {device} netns {namespace.name}")
        Node.disable_offloads(self._wire, port)
        Node.disable_offloads(namespace, device)
        self._wire.ip(f"link set {port} master br{segment} up")
        for net in SEGMENTS[segment]:
            namespace.ip(f"addr add {net[number]}/{net.prefixlen} dev {device} nodad")
        namespace.ip(f"link set {device} up")

    def add_node(self, name: str) -> ClusterNode:
        """Add a node, and routes to and from its pods."""
        node = ClusterNode(name, len(self.nodes) + 1, self._namespace(name))
        self.plug(node.namespace, "eth0", node.number)
        for host in (self.control, self.outside):
            host.namespace.ip(node.routes())
        # Without a way out not even the node itself could dial a Service: NAT comes after routing there.
        node.namespace.ip(f"route add default via {self.outside.ip}\nroute add default via {self.outside.ip6}")
        for other in self.nodes:
            other.namespace.ip(node.routes())
            node.namespace.ip(other.routes())
        self.nodes.append(node)
        return node

    def second_card(self, node: ClusterNode) -> tuple[str, str]:
        """Give a node eth1, on a segment that it shares with the world outside; returns its addresses."""
        self.plug(node.namespace, "eth1", node.number, segment=1)
        near, near6 = (str(net[node.number]) for net in SEGMENTS[1])
        return near, near6

    def close(self) -> None:
        """Remove everything."""
        for node in self.nodes:
            node.close()
        while self._made:
            self._made.pop().remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
