"""The routes of a namespace, and which one an address goes by. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from natlens.kernel.rtnetlink import Route

__all__ = ["RoutingTable", "is_to_host"]

WHOLE = {4: 32, 6: 128}
MAIN = 254


class RoutingTable:
    """Every route of every table but ``local``. Rules are not evaluated: no address tells what they ask of a packet."""

    def __init__(self) -> None:
        self._of: dict[tuple[int, int], dict[int, list[Route]]] = {}
        self._lengths: list[tuple[int, int]] = []
        self._of_device: defaultdict[int, set[Route]] = defaultdict(set)

    def put(self, route: Route, *, replaces: bool) -> None:
        """Enter a route; with ``replaces`` in place of those to its prefix with its metric."""
        same_length = self._of.get((route.version, route.length))
        if same_length is None:
            same_length = self._of[route.version, route.length] = {}
            self._lengths = sorted(self._of, key=lambda one: -one[1])
        for one in list(same_length.get(route.prefix, ())):
            if one == route or (replaces and (one.table, one.metric) == (route.table, route.metric)):
                self.remove(one)
        same_length.setdefault(route.prefix, []).append(route)
        self._of_device[route.ifindex].add(route)

    def remove(self, route: Route) -> None:
        """Take a route out, if it is there."""
        same_length = self._of.get((route.version, route.length), {})
        several = [one for one in same_length.get(route.prefix, ()) if one != route]
        if several:
            same_length[route.prefix] = several
        else:
            same_length.pop(route.prefix, None)
        of_device = self._of_device.get(route.ifindex)
        if of_device:
            of_device.discard(route)
            if not of_device:
                del self._of_device[route.ifindex]

    def remove_all(self, routes: Iterable[Route]) -> list[Route]:
        """Take several out; return them."""
        found = list(routes)
        for one in found:
            self.remove(one)
        return found

    def by_device(self, ifindex: int) -> Iterable[Route]:
        """Return what leads by a device."""
        return self._of_device.get(ifindex, ())

    def by_nexthop(self, number: int) -> Iterator[Route]:
        """Yield what leads by a nexthop object."""
        return (one for of_device in self._of_device.values() for one in of_device if one.nexthop == number)

    def to_hosts(self) -> Iterator[Route]:
        """Yield what leads to one address without a gateway."""
        for (version, length), same_length in self._of.items():
            if length == WHOLE[version]:
                for several in same_length.values():
                    yield from (route for route in several if is_to_host(route))

    def uplinks(self) -> set[int]:
        """Return the devices that a default route of table main leads by."""
        defaults = (self._of.get((version, 0), {}).get(0, ()) for version in WHOLE)
        return {route.ifindex for several in defaults for route in several if route.table == MAIN}

    def best(self, address: str) -> Route | None:
        """Return the route to an address: the longest prefix, then table main, then the least metric."""
        parsed = ip_address(address)
        number, bits = int(parsed), parsed.max_prefixlen
        for version, length in self._lengths:
            if version == parsed.version:
                several = self._of[version, length].get(number >> (bits - length) << (bits - length))
                if several:
                    return min(several, key=lambda route: (route.table != MAIN, route.metric))
        return None


def is_to_host(route: Route) -> bool:
    """Tell whether a route leads to one address, without a gateway."""
    return route.length == WHOLE[route.version] and route.gateway is None
