"""A node: a namespace that forwards, with its pods as namespaces behind veths. NAT in it is kube-proxy's affair."""

from ipaddress import IPv4Network, IPv6Network, ip_network

from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.node import QUIET, Node, Pod

__all__ = ["SEGMENTS", "ClusterNode"]


# For each segment its addresses in both families: the cluster's, and the one for second network cards.
SEGMENTS = (
    (ip_network("192.0.2.0/24"), ip_network("2001:db8::/64")),
    (ip_network("198.51.100.0/24"), ip_network("2001:db8:1::/64")),
)


class ClusterNode:
    """One node; its pods get 10.244.N.2 and fd00:244:N::2 and so on, the N-th node 192.0.2.N and 2001:db8::N."""

    def __init__(self, name: str, number: int, namespace: Namespace) -> None:
        self.name = name
        self.number = number
        self.namespace = namespace
        self.ip, self.ip6 = (str(net[number]) for net in SEGMENTS[0])
        self._nets = ip_network(f"10.244.{number}.0/24"), ip_network(f"fd00:244:{number:x}::/64")
        self.pod_nets: tuple[IPv4Network | IPv6Network, ...] = self._nets
        """The networks of pods that are yet to come."""
        self._pods: dict[str, Pod] = {}
        self._next = 2
        self._made = 0
        namespace.sysctl(
            ipv4__ip_forward=1,
            ipv6__conf__all__forwarding=1,
            netfilter__nf_conntrack_acct=1,
            ipv4__conf__all__rp_filter=0,
            ipv4__conf__all__send_redirects=0,
            ipv4__conf__default__send_redirects=0,
        )

    @property
    def pod_cidrs(self) -> list[str]:
        """Its part of the pods' addresses, in both families."""
        return [str(net) for net in self._nets]

    def routes(self) -> str:
        """Return the ``ip`` commands that make another host find this node's pods."""
        cidr, cidr6 = self.pod_cidrs
        return f"route add {cidr} via {self.ip}\nroute add {cidr6} via {self.ip6}"

    def pod(self, name: str, ip: str | None = None) -> Pod:
        """Add a pod; ``ip`` is one that this node had given to another pod, now removed (both families go together)."""
        number = self._next if ip is None else int(ip.rpartition(".")[2])
        self._next = max(self._next, number + 1)
        self._made += 1
        namespace = Namespace(f"{self.namespace.name}-{self._made}")
        near, near6 = (str(net[1]) for net in self.pod_nets)
        far, far6 = (str(net[number]) for net in self.pod_nets)
        pod = Pod(name, namespace, far, far6, f"veth{self._made}", near, near6)
        self._pods[namespace.name] = pod
        namespace.sysctl(**QUIET)
        self._connect(pod)
        return pod

    def _connect(self, pod: Pod) -> None:
        """Route one address a family to the pod, as CNI plugins without a bridge do."""
        self.namespace.ip(f"link add {pod.device} type veth peer name eth0 netns {pod.namespace.name}")
        Node.disable_offloads(self.namespace, pod.device)
        Node.disable_offloads(pod.namespace, "eth0")
        self.namespace.ip(f"""
            addr add {pod.gateway}/32 dev {pod.device}
            addr add {pod.gateway6}/128 dev {pod.device} nodad
            link set {pod.device} up
            route add {pod.ip}/32 dev {pod.device}
            route add {pod.ip6}/128 dev {pod.device}
        """)
        pod.namespace.ip(f"""
            addr add {pod.ip}/32 dev eth0
            addr add {pod.ip6}/128 dev eth0 nodad
            link set eth0 up
            route add {pod.gateway} dev eth0
            route add {pod.gateway6} dev eth0
            route add default via {pod.gateway}
            route add default via {pod.gateway6}
        """)

    def host_pod(self, name: str) -> Pod:
        """Return a pod of the host's network: the node's own namespace and addresses."""
        return Pod(name, self.namespace, self.ip, self.ip6, "eth0", self.ip, self.ip6)

    def remove(self, pod: Pod) -> None:
        """Take a pod's network away; its address may be given to another at once."""
        if self._pods.pop(pod.namespace.name, None) is None:
            return  # a host-network pod, or one whose network is gone already
        self.namespace.ip(f"link del {pod.device}")  # the kernel removes a namespace's devices only some time later
        pod.namespace.remove()

    def loopback(self, address: str) -> None:
        """Give lo another address, such as one that a router announces."""
        length = 128 if ":" in address else 32
        self.namespace.ip(f"addr add {address}/{length} dev lo")

    def masquerade(self) -> None:
        """Hide pods behind the node where they leave the cluster, as most CNI plugins do."""
        for family, pods in (("ip", "10.244.0.0/16"), ("ip6", "fd00:244::/32")):
            hook = "{ type nat hook postrouting priority 100; }"
            self.namespace.run("nft", f"add table {family} cni; add chain {family} cni post {hook}")
            rule = f"{family} saddr {pods} {family} daddr != {pods} masquerade"
            self.namespace.run("nft", f"add rule {family} cni post {rule}")

    def unmasquerade(self) -> None:
        """Undo :meth:`masquerade`."""
        self.namespace.run("nft", "delete table ip cni; delete table ip6 cni")

    def conntrack(self, *filters: str, family: str = "ipv4") -> list[str]:
        """Return what conntrack has on this node, an entry a line."""
        return self.namespace.run("conntrack", "-L", "-f", family, "-o", "extended", *filters).splitlines()

    def close(self) -> None:
        """Remove its pods; the namespace itself is the network's."""
        for pod in list(self._pods.values()):
            self.remove(pod)
