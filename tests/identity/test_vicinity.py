"""Where an end is: by the node's own network first, then by names, networks and routes."""

import logging
from ipaddress import ip_network
from typing import Any, cast

import pytest

from natlens.health import Health
from natlens.identity.endpoint import UNKNOWN, Endpoint
from natlens.identity.ends import End
from natlens.identity.index import Index
from natlens.identity.manifest import read_manifest
from natlens.identity.settings import IdentitySettings
from natlens.identity.standing import Place
from natlens.identity.vicinity import Surroundings
from natlens.kernel.routes import Bound, Evidence, Gone, Network, Way

SECOND = 1_000_000_000
NODES = """
kind: Node
metadata: {name: here}
spec: {podCIDR: 10.244.1.0/24}
status: {addresses: [{address: 192.0.2.1}]}
---
kind: Node
metadata: {name: there}
spec: {podCIDR: 10.244.2.0/24}
status: {addresses: [{address: 192.0.2.2}]}
---
kind: EndpointSlice
apiVersion: discovery.k8s.io/v1
metadata: {name: natlens-x, namespace: natlens, labels: {kubernetes.io/service-name: natlens}}
addressType: IPv4
endpoints: [{addresses: [10.244.1.9], nodeName: here}]
ports: [{port: 4317}]
"""
ETH0, ETH1, VETH, TUNNEL = 2, 3, 7, 8


class Told:
    """A node's network as it is told."""

    def __init__(self) -> None:
        self.missed = False
        self.events: list[Evidence] = []
        self.default = Way(ETH0, "192.0.2.254", 0)
        self.local = {"192.0.2.1", "10.244.1.0", "198.51.100.1"}
        self.ways = {
            "172.31.0.7": Way(VETH, None, 32),
            "10.244.1.5": Way(VETH, None, 32),
            "10.9.0.1": Way(ETH0, "192.0.2.2", 24),
            "10.8.0.1": Way(TUNNEL, "10.8.0.0", 24),
            "10.244.2.0": Way(ETH1, "198.51.100.2", 24),
            "198.51.100.2": Way(ETH1, None, 24),
            "198.51.100.3": Way(ETH1, None, 24),
        }

    def is_local(self, address: str) -> bool:
        return address in self.local

    def way(self, address: str) -> Way | None:
        return self.ways.get(address, self.default)

    def is_tunnel(self, ifindex: int) -> bool:
        return ifindex == TUNNEL

    def is_broadcast(self, address: str) -> bool:
        return address == "192.0.2.255"

    def uplinks(self) -> frozenset[int]:
        return frozenset({self.default.ifindex})

    def pod_devices(self) -> frozenset[int]:
        return frozenset({VETH})

    def bound(self) -> list[Evidence]:
        return []

    def refresh(self) -> list[Evidence]:
        events, self.events = self.events, []
        return events


def surroundings(network: Told, health: Health | None = None, **settings: Any) -> tuple[Surroundings, Index]:
    chosen = IdentitySettings(node_name="here", **settings)
    index = Index(Health(), chosen)
    for one in read_manifest(NODES, "test"):
        index.put(one, 0)
    return Surroundings(chosen, index, cast(Network, network), health or Health()), index


POD_THERE = Endpoint(k8s_pod_name="web", k8s_node_name="there", k8s_object_kind="pod")
POD_HERE = Endpoint(k8s_pod_name="web", k8s_node_name="here", k8s_object_kind="pod")
SERVICE = Endpoint(k8s_service_name="web", k8s_object_kind="service")


@pytest.mark.parametrize(
    ("address", "named", "place"),
    [
        ("192.0.2.1", Endpoint(k8s_node_name="here", k8s_object_kind="node"), Place.HERE),
        ("198.51.100.1", UNKNOWN, Place.HERE),  # an address that the Node does not tell of
        ("10.244.1.0", Endpoint(k8s_node_name="there"), Place.HERE),  # a tunnel's: the kernel knows better
        ("127.0.0.1", UNKNOWN, Place.HERE),
        ("::1", UNKNOWN, Place.HERE),
        ("10.244.1.5", POD_HERE, Place.HERE),
        ("10.244.1.5", UNKNOWN, Place.HERE),  # a pod that the API has not told of yet
        ("10.244.2.5", POD_THERE, Place.AGENT),
        ("10.244.2.0", Endpoint(k8s_node_name="there"), Place.AGENT),
        ("192.0.2.2", Endpoint(k8s_node_name="there", k8s_object_kind="node"), Place.AGENT),
        ("10.96.0.1", SERVICE, Place.HERE),  # not translated, so refused here
        ("192.0.2.2", SERVICE, Place.AGENT),  # another node's NodePort
        ("198.51.100.2", UNKNOWN, Place.AGENT),  # a neighbour by way of which another node's pods are reached
        ("198.51.100.3", UNKNOWN, Place.OUTSIDE),
        ("10.9.0.1", UNKNOWN, Place.AGENT),  # routed by a node
        ("10.8.0.1", UNKNOWN, Place.AGENT),  # into a tunnel
        ("10.7.0.1", UNKNOWN, Place.OUTSIDE),
        ("203.0.113.1", Endpoint(k8s_object_kind="external"), Place.OUTSIDE),
        ("203.0.113.50", Endpoint(k8s_node_name="here", k8s_object_kind="node"), Place.AGENT),  # a cloud translates it
        ("fe80::9", Endpoint(k8s_object_kind="link_local"), Place.NEARBY),
        ("224.0.0.251", UNKNOWN, Place.NEARBY),
        ("192.0.2.255", UNKNOWN, Place.NEARBY),
        ("255.255.255.255", UNKNOWN, Place.NEARBY),
    ],
)
def test_where_an_end_is(address: str, named: Endpoint, place: Place) -> None:
    where, _ = surroundings(Told())
    assert where.vicinity().place(End(address, named)) == place


@pytest.mark.parametrize("default", [Way(ETH0, "192.0.2.2", 0), Way(TUNNEL, None, 0), Way(TUNNEL, None, 1)])
def test_the_world_is_outside_though_a_node_or_a_tunnel_leads_there(default: Way) -> None:
    network = Told()
    network.default = default
    where, _ = surroundings(network)
    assert where.vicinity().place(End("203.0.113.1", UNKNOWN)) == Place.OUTSIDE


def test_a_link_that_leads_outside_too_is_no_link_between_nodes() -> None:
    network = Told()
    network.default = Way(ETH1, "198.51.100.254", 0)
    where, _ = surroundings(network)
    assert where.vicinity().node_links == frozenset()


def test_cluster_cidrs_are_inside() -> None:
    where, _ = surroundings(Told(), cluster_cidrs=(ip_network("10.7.0.0/16"),))
    assert where.vicinity().place(End("10.7.0.1", UNKNOWN)) == Place.AGENT


@pytest.mark.parametrize(
    ("agents", "place"), [(("natlens", "natlens"), Place.BARE), (("natlens", "unknown"), Place.AGENT)]
)
def test_a_node_runs_an_agent_if_its_service_says_so_or_nobody_knows(agents: tuple[str, str], place: Place) -> None:
    where, _ = surroundings(Told(), agents=agents)
    assert where.vicinity().place(End("10.244.2.5", POD_THERE)) == place


def test_links_to_other_nodes_are_those_by_which_their_pods_are_reached() -> None:
    where, _ = surroundings(Told())
    vicinity = where.vicinity()
    assert (vicinity.node_links, vicinity.pod_devices) == (frozenset({ETH1}), frozenset({VETH}))


@pytest.mark.parametrize(("address", "unsure"), [("172.31.0.7", 1), ("10.244.1.5", 0)])
def test_a_pod_that_others_cannot_know_is_said(address: str, unsure: int, caplog: pytest.LogCaptureFixture) -> None:
    health = Health()
    where, _ = surroundings(Told(), health)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert where.vicinity().place(End(address, POD_HERE)) == Place.HERE
    assert health.snapshot().get("primary_unsure", 0) == unsure
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        f"{address} is a pod here and in no node's podCIDR"
    ] * unsure


def test_a_pod_in_cluster_cidrs_is_not_unsure() -> None:
    health = Health()
    where, _ = surroundings(Told(), health, cluster_cidrs=(ip_network("172.31.0.0/16"),))
    assert where.vicinity().place(End("172.31.0.7", POD_HERE)) == Place.HERE
    assert "primary_unsure" not in health.snapshot()


def test_what_changes_is_heard() -> None:
    network = Told()
    where, index = surroundings(network)
    assert where.vicinity().place(End("10.7.0.1", UNKNOWN)) == Place.OUTSIDE
    network.ways["10.7.0.1"] = Way(VETH, None, 32)
    network.events = [Bound("10.7.0.1", VETH, 5 * SECOND), Gone(VETH, 6 * SECOND)]
    where.hear()
    assert where.vicinity().place(End("10.7.0.1", UNKNOWN)) == Place.HERE
    pods = "{kind: Pod, metadata: {name: a}, spec: {nodeName: here}, status: {phase: Running, podIP: 10.7.0.1, %s}}"
    began = '"1970-01-01T00:00:05Z"'
    running = f"startTime: {began}, containerStatuses: [{{state: {{running: {{startedAt: {began}}}}}}}]"
    for one in read_manifest(pods % running, "test"):
        index.put(one, 6 * SECOND - 1)
    assert index.endpoint("10.7.0.1", 0, 6, 5 * SECOND + 1).k8s_pod_name == "a"
    assert index.borders("10.7.0.1", 0, 7 * SECOND)[-1] == 6 * SECOND
