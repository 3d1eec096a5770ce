"""Networks, and which one an address is in."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Generic, TypeVar

__all__ = ["IpAddress", "Network", "Prefixes"]

Value = TypeVar("Value")
IpAddress = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Prefixes(Generic[Value]):
    """Values of networks, asked for by address: the longest prefix counts."""

    def __init__(self, networks: Iterable[tuple[Network, Value]] = ()) -> None:
        self._of: dict[tuple[int, int], dict[int, list[Value]]] = {}
        for network, value in networks:
            self.add(network, value)

    def add(self, network: Network, value: Value) -> None:
        """Enter a network."""
        same_length = self._of.setdefault((network.version, network.prefixlen), {})
        same_length.setdefault(int(network.network_address), []).append(value)

    def remove(self, network: Network, value: Value) -> None:
        """Take a network out that was entered."""
        same_length = self._of[network.version, network.prefixlen]
        values = same_length[int(network.network_address)]
        values.remove(value)
        if not values:
            del same_length[int(network.network_address)]
            if not same_length:
                del self._of[network.version, network.prefixlen]

    def of(self, address: IpAddress) -> list[Value]:
        """Return what the longest prefix of an address stands for; more than one value if it was entered twice."""
        number, bits, found = int(address), address.max_prefixlen, 0
        best: list[Value] = []
        for (version, length), same_length in self._of.items():
            if version == address.version and length >= found:
                values = same_length.get(number >> (bits - length) << (bits - length))
                if values:
                    best, found = values, length
        return list(best)
