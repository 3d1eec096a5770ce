"""Addresses and routes of the namespace, kept current by the kernel's own messages."""

import errno
import time
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from natlens.kernel.coverage import ARPHRD_ETHER, ARPHRD_LOOPBACK, PAIRS, Link
from natlens.kernel.listener import Listener
from natlens.kernel.rtnetlink import Address, Message, Nexthop, Route
from natlens.kernel.table import RoutingTable, is_to_host

__all__ = ["Bound", "Evidence", "Gone", "Network", "Way"]

TUNNELS = {"vxlan", "geneve", "gretap", "ip6gretap"}
"""Those that look like Ethernet; the others do not."""


class Way(NamedTuple):
    """How an address is reached."""

    ifindex: int
    gateway: str | None
    length: int
    """Of the prefix in bits; 0: the default route."""


class Bound(NamedTuple):
    """A pod's address is reached by its interface from this time on (Unix ns, when the message was read)."""

    address: str
    ifindex: int
    at_ns: int


class Gone(NamedTuple):
    """An interface of pods was gone or down at this time (Unix ns, when the message was read)."""

    ifindex: int
    at_ns: int


Evidence = Bound | Gone


class Network:
    """What rtnetlink tells, from the dump at the start and message by message after it.

    A descriptor that becomes readable when something changed; :meth:`refresh` reads it.
    """

    def __init__(self) -> None:
        self._listener = Listener()
        self.missed = False
        """Messages were lost: what :meth:`refresh` returned before may lack an end."""
        self._dump()

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._listener.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._listener.close()

    def refresh(self) -> list[Evidence]:
        """Read what changed; return what it tells of the interfaces of pods, in order.

        After an overflow everything is read anew, and ``missed`` is set.
        """
        found: list[Evidence] = []
        try:
            for message in self._listener.waiting():
                found += self._apply(message, time.time_ns())
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self.missed = True
            self._listener.silence()  # the end of what waits may be what was lost, and the dump comes after it
            self._dump()
            found = self.bound()
        return found

    def bound(self) -> list[Evidence]:
        """Return the addresses of pods as they are reached now."""
        now_ns = time.time_ns()
        return [Bound(_text(route), route.ifindex, now_ns) for route in self._table.to_hosts() if self._is_pods(route)]

    def is_local(self, address: str) -> bool:
        """Tell whether an address (canonical text) is one of the namespace's own, on any device."""
        return address in self._addresses

    def is_broadcast(self, address: str) -> bool:
        """Tell whether an address (canonical text) stands for all hosts of one of the node's subnets."""
        return address in self._broadcasts

    def way(self, address: str) -> Way | None:
        """Return how an address (canonical text) is reached; None for IPv6 link-local: every device leads there."""
        parsed = ip_address(address)
        if parsed.version == 6 and parsed.is_link_local:
            return None
        best = self._table.best(address)
        return Way(best.ifindex, best.gateway, best.length) if best and best.ifindex else None

    def is_tunnel(self, ifindex: int) -> bool:
        """Tell whether a device puts packets into others."""
        link = self._links.get(ifindex)
        if link is None:
            return False
        return link.kind in TUNNELS or link.hardware not in (ARPHRD_ETHER, ARPHRD_LOOPBACK)

    def uplinks(self) -> frozenset[int]:
        """Return the devices that a default route of table main leads by."""
        return frozenset(self._table.uplinks())

    def pod_devices(self) -> frozenset[int]:
        """Return the devices behind which there are pods: pairs whose other end is elsewhere, with a pod's route.

        And the ports of bridges that have only such ports.
        """
        routed = {route.ifindex for route in self._table.to_hosts() if self._is_pods(route)}
        ports: dict[int, list[Link]] = {}
        for link in self._links.values():
            ports.setdefault(link.master, []).append(link)
        for master, of_bridge in ports.items():
            bridge = self._links.get(master)
            if bridge and bridge.kind == "bridge" and all(map(_elsewhere, of_bridge)):
                routed |= {link.index for link in of_bridge}
        return frozenset(routed)

    def _is_pods(self, route: Route) -> bool:
        """Tell whether a route is a pod's own. A node in a container has a pair for its uplink."""
        link = self._links.get(route.ifindex)
        own = is_to_host(route) and link is not None and _elsewhere(link)
        return own and route.ifindex not in self._table.uplinks()

    def _dump(self) -> None:
        self._links: dict[int, Link] = {}
        self._addresses: dict[str, set[int]] = {}
        self._broadcasts: dict[str, int] = {}
        self._table = RoutingTable()
        for message in self._listener.everything():
            self._apply(message, 0)

    def _apply(self, message: Message, at_ns: int) -> list[Evidence]:
        match message.what:
            case Link() as link:
                return self._link(link, message, at_ns)
            case Address() as address:
                self._address(address, there=message.there)
            case Nexthop(number) if not message.there:
                self._table.remove_all(self._table.by_nexthop(number))
            case Route() as route if message.there:
                self._table.put(route, replaces=message.replaces)
                return [Bound(_text(route), route.ifindex, at_ns)] if self._is_pods(route) else []
            case Route() as route:
                self._table.remove(route)
        return []

    def _link(self, link: Link, message: Message, at_ns: int) -> list[Evidence]:
        """Take a device; one that is down or gone has lost its routes, and for IPv4 the kernel does not say so."""
        if message.there:
            self._links[link.index] = link
        else:
            self._links.pop(link.index, None)
        if message.there and message.up:
            return []
        lost = self._table.remove_all(self._table.by_device(link.index))
        return [Gone(link.index, at_ns)] if any(map(is_to_host, lost)) else []

    def _address(self, address: Address, *, there: bool) -> None:
        held = self._addresses.setdefault(address.address, set())
        before = len(held)
        (held.add if there else held.discard)(address.ifindex)
        if address.broadcast:
            number = self._broadcasts.get(address.broadcast, 0) + len(held) - before
            self._broadcasts[address.broadcast] = number
            if not number:
                del self._broadcasts[address.broadcast]
        if not held:
            del self._addresses[address.address]


def _elsewhere(link: Link) -> bool:
    return link.kind in PAIRS and link.lower_elsewhere


def _text(route: Route) -> str:
    return str(IPv4Address(route.prefix) if route.version == 4 else IPv6Address(route.prefix))
