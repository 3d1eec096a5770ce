"""What networks do to the traffic of nodes; each is there inside its block, and nothing of it afterwards."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_network
from typing import Protocol

from tests.cluster.network import Host, Network
from tests.cluster.nodes import SEGMENTS, ClusterNode

__all__ = [
    "FOREIGN",
    "beyond",
    "egress_gateway",
    "foreign_pods",
    "masqueraded",
    "overlay",
    "pods_by_the_second_card",
    "routed",
    "second_card",
]

FOREIGN = "172.31.0.0/16", "fd00:31::/32"
"""Networks of pods that are in no node's podCIDRs."""
VXLAN_ID, VXLAN_PORT = 1, 8472


@contextmanager
def masqueraded(*nodes: ClusterNode) -> Iterator[None]:
    """Pods hide behind their nodes where they leave the cluster."""
    for node in nodes:
        node.masquerade()
    try:
        yield
    finally:
        for node in nodes:
            node.unmasquerade()


@contextmanager
def foreign_pods(network: Network, *, routed_by_nodes: bool) -> Iterator[None]:
    """New pods get addresses outside podCIDRs, as of AWS VPC CNI and of Calico's pools.

    The world outside is the router between nodes, or nodes know the way themselves.
    """
    outside = network.outside.namespace
    outside.sysctl(ipv4__ip_forward=1, ipv6__conf__all__forwarding=1, ipv4__conf__eth0__send_redirects=0)
    outside.sysctl(ipv4__conf__all__send_redirects=0)
    before = [(node, node.pod_nets) for node in network.nodes]
    with ExitStack() as stack:
        stack.callback(outside.sysctl, ipv4__ip_forward=0, ipv6__conf__all__forwarding=0)
        for node, _ in before:
            net = ip_network(f"172.31.{node.number}.0/24"), ip_network(f"fd00:31:{node.number:x}::/64")
            node.pod_nets = net
            stack.callback(setattr, node, "pod_nets", dict(before)[node])
            others = [one.namespace for one in network.nodes if one is not node and routed_by_nodes]
            for host in (outside, *others):
                host.ip(f"route add {net[0]} via {node.ip}\nroute add {net[1]} via {node.ip6}")
                stack.callback(host.ip, f"route del {net[0]}\nroute del {net[1]}")
        yield


@contextmanager
def overlay(network: Network) -> Iterator[None]:
    """Nodes reach each other's pods by VXLAN, and have the first address of their podCIDR on it, as with flannel.

    IPv4 only; what leaves by it masqueraded has that address.
    """
    with ExitStack() as stack:
        for node in network.nodes:
            _tunnel(node)
            stack.callback(node.namespace.ip, "link del flannel.1")
        for node in network.nodes:
            for other in network.nodes:
                if other is not node:
                    cidr = other.pod_cidrs[0]
                    node.namespace.ip(_towards(other))
                    node.namespace.run("bridge", "fdb", "append", _mac(other), "dev", "flannel.1", "dst", other.ip)
                    stack.callback(node.namespace.ip, f"route replace {cidr} via {other.ip}")
        yield


def _tunnel(node: ClusterNode) -> None:
    vtep = f"type vxlan id {VXLAN_ID} local {node.ip} dstport {VXLAN_PORT} nolearning"
    node.namespace.ip(f"""
        link add flannel.1 address {_mac(node)} {vtep}
        addr add {_inner(node)}/32 dev flannel.1
        link set flannel.1 up
    """)
    node.namespace.run(
        "ethtool", "-K", "flannel.1", *["tso", "off", "gso", "off", "gro", "off", "tx", "off", "rx", "off"]
    )


def _towards(other: ClusterNode) -> str:
    return f"""
        neigh add {_inner(other)} lladdr {_mac(other)} dev flannel.1
        route replace {other.pod_cidrs[0]} via {_inner(other)} dev flannel.1 onlink
    """


def _inner(node: ClusterNode) -> str:
    return str(ip_network(node.pod_cidrs[0]).network_address)


def _mac(node: ClusterNode) -> str:
    return f"02:00:00:00:00:{node.number:02x}"


@contextmanager
def second_card(network: Network, node: ClusterNode) -> Iterator[tuple[str, str]]:
    """Give a node eth1 on the second segment; returns its addresses there, of which no Node tells."""
    addresses = network.second_card(node)
    try:
        yield addresses
    finally:
        node.namespace.ip("link del eth1")


@contextmanager
def pods_by_the_second_card(network: Network) -> Iterator[None]:
    """Every node has a second card, and reaches the others' pods by it: a network of its own for the cluster."""
    with ExitStack() as stack:
        for node in network.nodes:
            stack.enter_context(second_card(network, node))
        for node in network.nodes:
            for other in network.nodes:
                if other is not node:
                    for cidr, near, net in zip(other.pod_cidrs, (other.ip, other.ip6), SEGMENTS[1], strict=True):
                        node.namespace.ip(f"route replace {cidr} via {net[other.number]}")
                        stack.callback(node.namespace.ip, f"route replace {cidr} via {near}")
        yield


class Addressed(Protocol):
    """What has an address of each family."""

    @property
    def ip(self) -> str: ...
    @property
    def ip6(self) -> str: ...


@contextmanager
def routed(to: Addressed, *ways: tuple[Host | ClusterNode, Host | ClusterNode]) -> Iterator[None]:
    """Let the first of each pair reach an address by way of the second."""
    with ExitStack() as stack:
        for one, by in ways:
            one.namespace.ip(f"route add {to.ip} via {by.ip}\nroute add {to.ip6} via {by.ip6}")
            stack.callback(one.namespace.ip, f"route del {to.ip}\nroute del {to.ip6}")
        yield


@contextmanager
def beyond(network: Network, gateway: ClusterNode, number: int = 201) -> Iterator[Host]:
    """A host of the second segment for which a node is the router; its pods are masqueraded by nobody."""
    host = network.add_host("beyond", number, segment=1)
    way, way6 = (str(net[gateway.number]) for net in SEGMENTS[1])
    host.namespace.ip(f"route add default via {way}\nroute add default via {way6}")
    try:
        yield host
    finally:
        network.remove_host(host)


@contextmanager
def egress_gateway(of: ClusterNode, gateway: ClusterNode, to: Host, addresses: tuple[str, str]) -> Iterator[None]:
    """What pods of one node send to these addresses of a host outside leaves by the gateway, behind its address."""
    with ExitStack() as stack:
        for address, via in zip(addresses, (gateway.ip, gateway.ip6), strict=True):
            length = 128 if ":" in address else 32
            to.namespace.ip(f"addr add {address}/{length} dev lo")
            stack.callback(to.namespace.ip, f"addr del {address}/{length} dev lo")
            of.namespace.ip(f"route add {address} via {via}")
            stack.callback(of.namespace.ip, f"route del {address}")
        stack.enter_context(masqueraded(gateway))
        yield
