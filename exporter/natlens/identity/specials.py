"""Addresses that no object claims."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from natlens.identity.endpoint import UNKNOWN, Endpoint
from natlens.identity.networks import IpAddress, Network, Prefixes
from natlens.identity.nodes import Nodes

__all__ = ["Specials"]

OVN = Prefixes(
    (ip_network(text), True)
    for text in (
        *("100.64.0.0/16", "fd98::/64"),  # join
        *("100.88.0.0/16", "fd97::/64"),  # transit
        *("169.254.0.0/17", "fd69::/112"),  # masquerade
    )
)
LINK_LOCAL = Endpoint(k8s_object_kind="link_local")
OVN_INTERNAL = Endpoint(k8s_object_kind="ovn_internal")
EXTERNAL = Endpoint(k8s_object_kind="external")
BROADCAST = ip_address("255.255.255.255")


class Specials:
    """What an address is by its number alone."""

    def __init__(
        self, nodes: Nodes, cluster_cidrs: Iterable[Network] = (), cidr_labels: Iterable[tuple[Network, str]] = ()
    ) -> None:
        self._nodes = nodes
        self._cluster = Prefixes((network, True) for network in cluster_cidrs)
        self._labels = Prefixes((network, Endpoint(k8s_object_kind=label)) for network, label in cidr_labels)

    def endpoint(self, text: str, *, external: bool) -> Endpoint:
        """Return what is known of an address; :data:`UNKNOWN` if nothing.

        ``external``: what is in no network of the cluster is known to be outside.
        """
        try:
            address = ip_address(text)
        except ValueError:
            return UNKNOWN
        if labels := self._labels.of(address):
            return labels[-1]
        if self._nodes.ovn and OVN.of(address):
            return OVN_INTERNAL
        if address.is_link_local:
            return LINK_LOCAL
        if node := self._nodes.of(address):
            return Endpoint(k8s_node_name=node, cloud_availability_zone=self._nodes.zone(node))
        if not external or self._cluster.of(address) or _nowhere(address):
            return UNKNOWN
        return EXTERNAL

    def node_of(self, text: str) -> str | None:
        """Return the node whose podCIDR an address is in."""
        try:
            return self._nodes.of(ip_address(text))
        except ValueError:
            return None


def _nowhere(address: IpAddress) -> bool:
    return address.is_loopback or address.is_multicast or address.is_unspecified or address == BROADCAST
