"""The node: a namespace that forwards and translates, pods behind veths, and the world outside."""

import itertools
import os
from dataclasses import dataclass

from natlens.ui.lab.namespaces import Namespace

__all__ = ["Node", "Pod"]

NODE_IP, NODE_IP6 = "192.0.2.1", "2001:db8::1"
OUTSIDE_IP, OUTSIDE_IP6 = "192.0.2.2", "2001:db8::2"
OFFLOADS = "tso", "gso", "gro", "tx", "rx"
# What IPv6 says of its own accord is over soon: no duplicate detection, no search for routers, reports at once.
QUIET = {
    "ipv6__conf__default__accept_dad": 0,
    "ipv6__conf__default__router_solicitations": 0,
    "ipv6__conf__default__mldv2_unsolicited_report_interval": 10,
}
_numbers = itertools.count()


@dataclass(frozen=True)
class Pod:
    """A pod (or the world outside): a namespace with one interface, eth0."""

    name: str
    namespace: Namespace
    ip: str
    ip6: str
    device: str  # the node's end of its veth
    gateway: str  # the node's addresses on it
    gateway6: str


class Node:
    """A Kubernetes node in miniature.

    Pods get 10.244.N.2/24 and fd00:244:N::2/64; the node is 192.0.2.1, the world outside 192.0.2.2.
    """

    def __init__(self, *, offloads: bool = False) -> None:
        """Make the node and its uplink; ``offloads`` off: one packet is one segment."""
        self._prefix = f"nl{os.getpid()}-{next(_numbers)}"
        self._offloads = offloads
        self._pods: list[Pod] = []
        self._extra: list[Namespace] = []
        self.namespace = Namespace(f"{self._prefix}-node")
        self.ip, self.ip6 = NODE_IP, NODE_IP6
        self.namespace.sysctl(
            ipv4__ip_forward=1,
            ipv6__conf__all__forwarding=1,
            netfilter__nf_conntrack_acct=1,
            ipv4__conf__all__rp_filter=0,
            **QUIET,
        )
        self.outside = self._connect("outside", "eth0", NODE_IP, OUTSIDE_IP, NODE_IP6, OUTSIDE_IP6)
        self.namespace.ip(f"route add default via {OUTSIDE_IP}\nroute add default via {OUTSIDE_IP6}")

    def pod(self, name: str) -> Pod:
        """Add a pod behind a veth of its own."""
        number = len(self._pods) + 1
        net, net6 = f"10.244.{number}", f"fd00:244:{number}:"
        pod = self._connect(name, f"veth-{name}"[:15], f"{net}.1", f"{net}.2", f"{net6}:1", f"{net6}:2")
        self._pods.append(pod)
        return pod

    def _connect(self, name: str, device: str, near: str, far: str, near6: str, far6: str) -> Pod:
        namespace = self.make_namespace(name)
        self.namespace.ip(f"link add {device} type veth peer name eth0 netns {namespace.name}")
        if not self._offloads:
            self.disable_offloads(self.namespace, device)
            self.disable_offloads(namespace, "eth0")
        self.namespace.ip(f"""
            addr add {near}/24 dev {device}
            addr add {near6}/64 dev {device} nodad
            link set {device} up
        """)
        namespace.ip(f"""
            addr add {far}/24 dev eth0
            addr add {far6}/64 dev eth0 nodad
            link set eth0 up
            route add default via {near}
            route add default via {near6}
        """)
        return Pod(name, namespace, far, far6, device, near, near6)

    def make_namespace(self, name: str) -> Namespace:
        """Make one more namespace that goes with the node."""
        namespace = Namespace(f"{self._prefix}-{name}")
        namespace.sysctl(**QUIET)
        self._extra.append(namespace)
        return namespace

    @staticmethod
    def disable_offloads(namespace: Namespace, device: str) -> None:
        """Turn off what makes one packet many segments."""
        namespace.run("ethtool", "-K", device, *itertools.chain.from_iterable((name, "off") for name in OFFLOADS))

    def nft(self, rules: str) -> None:
        """Load nftables rules into the node."""
        self.namespace.run("nft", "-f", "-", stdin=rules)

    def iptables(self, *rules: str) -> None:
        """Apply iptables-nft rules (one string each) in the node."""
        for rule in rules:
            self.namespace.run("iptables-nft", *rule.split())

    def close(self) -> None:
        """Remove everything; leaves nothing behind."""
        for namespace in [*self._extra, self.namespace]:
            namespace.remove()

    def __enter__(self) -> "Node":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()
