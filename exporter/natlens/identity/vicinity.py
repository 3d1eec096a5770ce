"""What a node knows of where addresses are: its own network, the API's names, and the options."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import islice

from natlens.health import Health
from natlens.identity.endpoint import Endpoint
from natlens.identity.ends import End
from natlens.identity.index import Index
from natlens.identity.networks import Network as IpNetwork
from natlens.identity.networks import Prefixes
from natlens.identity.settings import IdentitySettings
from natlens.identity.standing import Place, Vicinity
from natlens.kernel.routes import Bound, Evidence, Network

__all__ = ["Surroundings"]

log = logging.getLogger(__name__)

MOST = 65_536
"""Places that are remembered."""
TICK_NS = 10_000_000
"""By so much a packet's time may be too early: the kernel's coarse clock, at 100 Hz."""
NODES_LOOKED_AT = 64
"""By how many of the nodes a link is known to lead to nodes."""
SPLIT_DEFAULT = 1
"""Prefix length of the halves that a VPN makes of a default route: what is behind it is not in the cluster for that."""
ALL_HOSTS = ip_address("255.255.255.255")


class Surroundings:
    """Where ends are, as :class:`~natlens.identity.standing.Vicinity` has it; for the pipeline's thread.

    What rtnetlink tells of pods' interfaces goes to the index. Sets the gauge ``primary_unsure``: local pods seen whose
    address is in no network that other nodes know to be the cluster's.
    """

    def __init__(self, settings: IdentitySettings, index: Index, network: Network, health: Health) -> None:
        self._settings, self._index, self._network, self._health = settings, index, network, health
        self._cluster = Prefixes((one, True) for one in settings.cluster_cidrs)
        self._places: dict[End, Place] = {}
        self._known: object = None
        self._unsure: set[str] = set()
        self._pod_devices: frozenset[int] = frozenset()
        self._node_links: frozenset[int] = frozenset()
        self._gateways: dict[str, str] | None = None
        self.agents: frozenset[str] | None = None
        """The nodes that run an agent, as of the last :meth:`vicinity`; None: not known."""
        self._take(network.bound())

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when the network changed."""
        return self._network.fileno()

    def hear(self, quiet_ns: int | None = None) -> None:
        """Read what changed in the node's network, since ``quiet_ns`` (Unix time) if that is known."""
        self._take(self._network.refresh(), quiet_ns)
        self._known = None

    def vicinity(self) -> Vicinity:
        """Return what is known now."""
        agents = self._settings.agents
        self.agents = self._index.agents("/".join(agents)) if agents else None
        known = self.agents, self._index.node_names(), self._index.pod_networks()
        if known != self._known or len(self._places) > MOST:
            self._known = known
            self._places.clear()
            self._gateways = None
            self._pod_devices = self._network.pod_devices()
            self._node_links = frozenset(self._links_to(known[-1])) - self._network.uplinks()
        return Vicinity(self._place, self._pod_devices, self._node_links)

    def _links_to(self, networks: list[tuple[IpNetwork, str]]) -> Iterator[int]:
        """Yield the devices by which pods of other nodes are reached."""
        others = (network for network, node in networks if node != self._settings.node_name)
        for network in islice(others, NODES_LOOKED_AT):
            if way := self._network.way(str(network.network_address)):
                yield way.ifindex

    def close(self) -> None:
        """Stop listening."""
        self._network.close()

    def _take(self, evidence: list[Evidence], quiet_ns: int | None = None) -> None:
        if self._network.missed:
            self._network.missed = False
            self._index.forget_bindings()
        for one in evidence:
            after_ns = one.at_ns if quiet_ns is None else min(quiet_ns, one.at_ns) - TICK_NS
            if isinstance(one, Bound):
                self._index.bind(*one, after_ns)
            else:
                self._index.unbind(*one, after_ns)

    def _place(self, end: End) -> Place:
        found = self._places.get(end)
        if found is None:
            found = self._places[end] = self._find(end)
        return found

    def _find(self, end: End) -> Place:
        address, named = end
        parsed = ip_address(address)
        if self._network.is_local(address) or parsed.is_loopback:
            return Place.HERE
        if parsed.is_link_local or parsed.is_multicast or parsed == ALL_HOSTS or self._network.is_broadcast(address):
            return Place.NEARBY
        if named.k8s_node_name is not None:
            return self._named(named.k8s_node_name, named, address)
        if named.k8s_object_kind == "service":  # not translated: a node's port, or refused here as nobody answers
            node = self._index.node_of(address, time.time_ns())
            return self._at(node or self._settings.node_name, address, is_pod=False)
        return self._routed(address)

    def _named(self, node: str, named: Endpoint, address: str) -> Place:
        """A Node may have addresses that a cloud translates: they are not here."""
        if node == self._settings.node_name and named.k8s_object_kind == "node":
            return Place.AGENT
        return self._at(node, address)

    def _routed(self, address: str) -> Place:
        way = self._network.way(address)
        if way and way.ifindex in self._pod_devices:
            return self._at(self._settings.node_name, address)
        if way and way.length > SPLIT_DEFAULT:
            if way.gateway and (node := self._index.node_of(way.gateway, time.time_ns())):
                return self._at(node, address)
            if not way.gateway and (node := self._node_at(address)):
                return self._at(node, address)
            if self._network.is_tunnel(way.ifindex):
                return Place.AGENT
        return Place.AGENT if self._cluster.of(ip_address(address)) else Place.OUTSIDE

    def _node_at(self, address: str) -> str | None:
        """Return the node whose pods, and no other's, are reached by way of a neighbour: its Node need not say so."""
        if self._gateways is None:
            nodes: defaultdict[str, set[str]] = defaultdict(set)
            for network, node in self._index.pod_networks():
                way = self._network.way(str(network.network_address))
                if way and way.gateway and way.length > SPLIT_DEFAULT:
                    nodes[way.gateway].add(node)
            self._gateways = {gateway: names.pop() for gateway, names in nodes.items() if len(names) == 1}
        return self._gateways.get(address)

    def _at(self, node: str, address: str, *, is_pod: bool = True) -> Place:
        if node == self._settings.node_name:
            if is_pod:
                self._doubt(address)
            return Place.HERE
        return Place.AGENT if self.agents is None or node in self.agents else Place.BARE

    def _doubt(self, address: str) -> None:
        """Take note of a local pod that other nodes cannot know to be in the cluster."""
        if address in self._unsure or len(self._unsure) >= MOST:
            return
        if self._cluster.of(ip_address(address)) or self._index.is_in_pod_network(address):
            return
        if not self._unsure:
            log.warning(
                "%s is a pod here and in no node's podCIDR: set cluster_cidrs to the networks of the cluster's pods "
                "(lost: that exactly one node's record of its connections says flow.primary)",
                address,
            )
        self._unsure.add(address)
        self._health.set("primary_unsure", len(self._unsure))
