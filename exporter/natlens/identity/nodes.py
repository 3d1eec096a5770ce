"""What is known of the nodes: zones, networks of their pods."""

from collections.abc import Collection
from ipaddress import ip_network

from natlens.identity.networks import IpAddress, Network, Prefixes
from natlens.identity.selection import Selected
from natlens.identity.words import AboutNode

__all__ = ["Nodes"]


class Nodes:
    """Nodes by their own objects, and their zones also by what EndpointSlices say."""

    def __init__(self) -> None:
        self._about: dict[str, AboutNode] = {}
        self._told: dict[str, dict[str, int]] = {}
        self._networks: Prefixes[str] = Prefixes()
        self.ovn = 0
        """How many nodes say that OVN-Kubernetes gives its addresses."""

    def put(self, name: str, about: AboutNode | None) -> bool:
        """Take what a node's object says (None: it is gone); return whether it is news."""
        before = self._about.get(name)
        if before == about:
            return False
        for network in _networks(before):
            self._networks.remove(network, name)
        for network in _networks(about):
            self._networks.add(network, name)
        self.ovn += bool(about and about.ovn) - bool(before and before.ovn)
        if about is None:
            del self._about[name]
        else:
            self._about[name] = about
        return True

    def told(self, name: str, zone: str, times: int) -> bool:
        """Take that a slice says (1) or no longer says (-1) that a node is in a zone; return whether it is news."""
        if not name or not zone:
            return False
        before = self.zone(name)
        zones = self._told.setdefault(name, {})
        zones[zone] = zones.get(zone, 0) + times
        if zones[zone] <= 0:
            del zones[zone]
            if not zones:
                del self._told[name]
        return self.zone(name) != before

    def zone(self, name: str) -> str | None:
        """Return a node's zone: its own label, else what all slices agree on."""
        about = self._about.get(name)
        if about and about.zone:
            return about.zone
        zones = self._told.get(name, ())
        return next(iter(zones)) if len(zones) == 1 else None

    def selected(self, name: str) -> Selected:
        """Return the labels and annotations that were asked for."""
        about = self._about.get(name)
        return about.selected if about else ()

    def of(self, address: IpAddress) -> str | None:
        """Return the only node whose podCIDR an address is in."""
        names = set(self._networks.of(address))
        return names.pop() if len(names) == 1 else None

    def names(self) -> Collection[str]:
        """Return the nodes that have an object."""
        return self._about.keys()

    def networks(self) -> list[tuple[Network, str]]:
        """Return each podCIDR with its node."""
        return [(network, name) for name, about in self._about.items() for network in _networks(about)]


def _networks(about: AboutNode | None) -> list[Network]:
    found = []
    for text in about.networks if about else ():
        try:
            found.append(ip_network(text))
        except ValueError:
            continue
    return found
