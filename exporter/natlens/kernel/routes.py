"""Addresses and routes of the namespace, kept current by the kernel's own messages."""

import errno
import socket
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from natlens.kernel.coverage import ARPHRD_ETHER, ARPHRD_LOOPBACK, PAIRS, Link
from natlens.kernel.rtnetlink import (
    DONE,
    ERROR,
    GROUPS,
    NEWADDRESS,
    NEWLINK,
    NEWROUTE,
    Address,
    Message,
    Route,
    dump_request,
    messages,
)

__all__ = ["Bound", "Evidence", "Gone", "Network", "Way"]

READ = 1 << 18
QUEUE = 1 << 22
"""Bytes of messages that may wait: a node may change many routes at once."""
WHOLE = {4: 32, 6: 128}
TUNNELS = {"vxlan", "geneve", "gretap", "ip6gretap"}
"""Those that look like Ethernet; the others do not."""


class Way(NamedTuple):
    """How an address is reached."""

    ifindex: int
    gateway: str | None


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
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE)
        self._socket.bind((0, GROUPS))
        self.missed = False
        """Messages were lost: what :meth:`refresh` returned before may lack an end."""
        self._dump()

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def refresh(self) -> list[Evidence]:
        """Read what changed; return what it tells of the interfaces of pods, in order.

        After an overflow everything is read anew, and ``missed`` is set.
        """
        found: list[Evidence] = []
        try:
            for message in self._waiting():
                found += self._apply(message, time.time_ns())
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self.missed = True
            self._dump()
            found = self.bound()
        return found

    def bound(self) -> list[Evidence]:
        """Return the addresses of pods as they are reached now."""
        now_ns = time.time_ns()
        return [Bound(_text(route), route.ifindex, now_ns) for route in self._of_pods()]

    def is_local(self, address: str) -> bool:
        """Tell whether an address (canonical text) is one of the namespace's own, on any device."""
        return address in self._local

    def way(self, address: str) -> Way | None:
        """Return how an address (canonical text) is reached: the longest prefix, then the least metric."""
        parsed = ip_address(address)
        number, bits = int(parsed), parsed.max_prefixlen
        for version, length in self._lengths:
            if version == parsed.version:
                several = self._routes[version, length].get(number >> (bits - length) << (bits - length))
                if several:
                    best = min(several, key=lambda route: route.metric)
                    return Way(best.ifindex, best.gateway) if best.ifindex else None
        return None

    def is_tunnel(self, ifindex: int) -> bool:
        """Tell whether a device puts packets into others."""
        link = self._links.get(ifindex)
        if link is None:
            return False
        return link.kind in TUNNELS or link.hardware not in (ARPHRD_ETHER, ARPHRD_LOOPBACK)

    def pod_devices(self) -> frozenset[int]:
        """Return the devices behind which there are pods: pairs whose other end is elsewhere, with a pod's route.

        And the ports of bridges that have only such ports.
        """
        routed = {route.ifindex for route in self._of_pods()}
        ports: dict[int, list[Link]] = {}
        for link in self._links.values():
            ports.setdefault(link.master, []).append(link)
        for master, of_bridge in ports.items():
            bridge = self._links.get(master)
            if bridge and bridge.kind == "bridge" and all(map(_elsewhere, of_bridge)):
                routed |= {link.index for link in of_bridge}
        return frozenset(routed)

    def _of_pods(self) -> Iterator[Route]:
        for (version, length), routes in self._routes.items():
            if length == WHOLE[version]:
                yield from (route for several in routes.values() for route in several if self._leads_to_pod(route))

    def _leads_to_pod(self, route: Route) -> bool:
        link = self._links.get(route.ifindex)
        return route.length == WHOLE[route.version] and route.gateway is None and link is not None and _elsewhere(link)

    def _dump(self) -> None:
        self._links: dict[int, Link] = {}
        self._addresses: set[Address] = set()
        self._local: frozenset[str] = frozenset()
        self._routes: dict[tuple[int, int], dict[int, list[Route]]] = {}
        self._lengths: list[tuple[int, int]] = []
        for kind in (NEWLINK, NEWADDRESS, NEWROUTE):
            self._socket.setblocking(True)
            self._socket.send(dump_request(kind))
            done = False
            while not done:
                for message in messages(self._socket.recv(READ)):
                    done |= message.kind in (DONE, ERROR)
                    self._apply(message, 0)
        self._socket.setblocking(False)

    def _waiting(self) -> Iterator[Message]:
        while True:
            try:
                data = self._socket.recv(READ)
            except BlockingIOError:
                return
            yield from messages(data)

    def _apply(self, message: Message, at_ns: int) -> list[Evidence]:
        match message.what:
            case Link() as link:
                gone = not (message.there and message.up) and self._drop_routes(link.index)
                if message.there:
                    self._links[link.index] = link
                else:
                    self._links.pop(link.index, None)
                return [Gone(link.index, at_ns)] if gone else []
            case Address() as address:
                (self._addresses.add if message.there else self._addresses.discard)(address)
                self._local = frozenset(one.address for one in self._addresses)
            case Route() as route:
                self._route(route, message)
                if message.there and self._leads_to_pod(route):
                    return [Bound(_text(route), route.ifindex, at_ns)]
        return []

    def _route(self, route: Route, message: Message) -> None:
        same_length = self._routes.get((route.version, route.length))
        if same_length is None:
            same_length = self._routes[route.version, route.length] = {}
            self._lengths = sorted(self._routes, key=lambda one: -one[1])
        several = [
            one
            for one in same_length.get(route.prefix, ())
            if one != route
            and not (message.there and message.replaces and (one.table, one.metric) == (route.table, route.metric))
        ]
        if message.there:
            several.append(route)
        if several:
            same_length[route.prefix] = several
        else:
            same_length.pop(route.prefix, None)

    def _drop_routes(self, ifindex: int) -> bool:
        """Forget what led by a device: for IPv4 the kernel does not say it. Return whether a pod was behind it."""
        had = False
        for (version, length), routes in self._routes.items():
            for prefix, several in list(routes.items()):
                left = [one for one in several if one.ifindex != ifindex]
                had |= length == WHOLE[version] and len(left) < len(several)
                if not left:
                    del routes[prefix]
                elif len(left) < len(several):
                    routes[prefix] = left
        return had


def _elsewhere(link: Link) -> bool:
    return link.kind in PAIRS and link.lower_elsewhere


def _text(route: Route) -> str:
    return str(IPv4Address(route.prefix) if route.version == 4 else IPv6Address(route.prefix))
