"""Which interfaces are covered, and on which side: rules about what a device is, never about its name.

Every packet of the node must be counted once. At ingress it is counted where it comes in; at egress
only what the host itself sent is counted. The rules below keep one device out of the way of
another where a packet passes both.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

__all__ = ["Link", "Plan", "plan"]

ARPHRD_ETHER, ARPHRD_LOOPBACK = 1, 772
# Raw IP on the wire: PPP, IPIP, IP6 tunnels, SIT, GRE, IP6GRE, RAWIP, NONE (tun, WireGuard).
LAYER_3 = {512, 768, 769, 776, 778, 823, 519, 65534}
STACKED = {"vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"}
AGGREGATES = {"bond", "team"}
PAIRS = {"veth", "netkit"}


@dataclass(frozen=True)
class Link:
    """A network device as rtnetlink tells it."""

    index: int
    name: str
    hardware: int = ARPHRD_ETHER  # ARPHRD_*
    kind: str = ""  # IFLA_INFO_KIND: veth, bridge, vlan, …
    master: int = 0  # ifindex; 0: none
    lower: int = 0  # IFLA_LINK: the device below, or a pair's other end
    lower_elsewhere: bool = False  # IFLA_LINK_NETNSID: `lower` is in another namespace


@dataclass(frozen=True)
class Plan:
    """What to attach to one interface; None: nothing on that side."""

    ingress: str | None
    egress: str | None
    counted: bool  # packets that came in by it need no count at another device's egress
    reason: str


def _chosen(name: str, include: Iterable[str], exclude: Iterable[str]) -> bool:
    return any(fnmatchcase(name, p) for p in include) and not any(fnmatchcase(name, p) for p in exclude)


class _Devices:
    """The devices of one namespace, and what each is to the others."""

    def __init__(self, links: Iterable[Link], include: list[str], exclude: list[str]) -> None:
        self.by_index = {link.index: link for link in links}
        self.chosen = {i: _chosen(link.name, include, exclude) for i, link in self.by_index.items()}
        self._ports: dict[int, list[Link]] = {}
        for link in self.by_index.values():
            self._ports.setdefault(link.master, []).append(link)

    def master_kind(self, link: Link) -> str:
        master = self.by_index.get(link.master)
        return master.kind if master else ""

    def ports(self, link: Link) -> list[Link]:
        return self._ports.get(link.index, [])

    def below(self, link: Link) -> Link | None:
        """Return the covered device that carries a VLAN or macvlan in this namespace."""
        lower = self.by_index.get(link.lower)
        stands = link.kind in STACKED and not link.lower_elsewhere and lower is not None and self.chosen[lower.index]
        return lower if stands else None

    def other_end(self, link: Link) -> Link | None:
        """Return a pair's other end where both are in this namespace and covered."""
        other = self.by_index.get(link.lower)
        both = link.kind in PAIRS and not link.lower_elsewhere and other is not None and other.kind == link.kind
        return other if both and other is not None and self.chosen[other.index] else None

    def stands_on_stack(self, link: Link) -> bool:
        """Tell whether a bridge has a port that is itself seen at a covered device below it."""
        return any(self.below(port) for port in self.ports(link))


def _port(devices: _Devices, link: Link) -> Plan:
    bridge = devices.by_index[link.master]
    ingress = None if devices.other_end(link) else "ingress_l2"
    if not devices.chosen[bridge.index] or devices.stands_on_stack(bridge):
        return Plan(ingress, "egress_l2", True, "port of a bridge that is not covered itself")
    return Plan(ingress, "egress_port", True, "bridge port: what the host sends is counted at the bridge")


def _untouched(devices: _Devices, link: Link) -> Plan | None:
    """Return the plan of a device that nothing is attached to, because another one sees its packets or none should."""
    if not devices.chosen[link.index]:
        return Plan(None, None, False, "excluded by include_interfaces / exclude_interfaces")
    if link.kind == "ifb":
        return Plan(None, None, True, "redirect target: counted where its packets came in")
    if link.kind == "bridge" and devices.stands_on_stack(link):
        return Plan(None, None, True, "bridge over a VLAN or macvlan: counted at its ports and below them")
    if link.kind == "vrf" or (devices.ports(link) and link.kind not in {"bridge", *AGGREGATES}):
        return Plan(None, None, True, "master: its ports are covered")
    if devices.below(link):
        return Plan(None, None, True, "stacked: seen at the device below")
    if devices.master_kind(link) in AGGREGATES:
        return Plan(None, None, True, "member of a bond or team: seen at the master")
    if link.hardware not in (ARPHRD_ETHER, ARPHRD_LOOPBACK) and link.hardware not in LAYER_3:
        return Plan(None, None, False, f"link type {link.hardware} carries no IP that natlens can read")
    return None


def _covered(devices: _Devices, link: Link) -> Plan:
    if link.hardware == ARPHRD_LOOPBACK:
        return Plan(None, "egress_l2", True, "loopback: one side, or every packet counts twice")
    if link.kind == "bridge":
        return Plan(None, "egress_l2", True, "bridge: only what the host sends into it; the rest is its ports'")
    if devices.master_kind(link) == "bridge":
        return _port(devices, link)
    if devices.other_end(link):
        return Plan(None, "egress_l2", True, "pair inside this namespace: each end counts what the host sends")
    layer = "l2" if link.hardware == ARPHRD_ETHER else "l3"
    return Plan(f"ingress_{layer}", f"egress_{layer}", True, "covered")


def plan(links: Iterable[Link], include: list[str], exclude: list[str]) -> Mapping[int, Plan]:
    """Return ifindex → :class:`Plan` for the devices of one network namespace.

    ``include`` and ``exclude`` are shell patterns of names. An excluded device is as if it were not there:
    what stands above it is covered as a device of its own, and what comes in by it is counted where it
    leaves.
    """
    devices = _Devices(links, include, exclude)
    return {index: _untouched(devices, link) or _covered(devices, link) for index, link in devices.by_index.items()}
