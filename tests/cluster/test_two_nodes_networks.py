"""Whose record counts in networks that are not as podCIDRs and Node addresses have it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.nodes import SEGMENTS
from tests.cluster.services import Port
from tests.cluster.sum_of_records import Sums
from tests.cluster.topologies import (
    FOREIGN,
    beyond,
    egress_gateway,
    foreign_pods,
    masqueraded,
    overlay,
    pods_by_the_second_card,
    routed,
    second_card,
)
from tests.cluster.traffic_sum import At, Row, Traffic, cluster_ip, counted, node_port, on

A, B = "node-a", "node-b"
WEB, DNS = 8080, 5353
SIZES = 100, 4_000
SMALL = 100, 1_200  # a packet has room in the tunnel
AWAY = "203.0.113.80", "2001:db8:2::80"
SECOND = tuple(str(net) for net in SEGMENTS[1])
CIDRS = f"--cluster-cidrs={','.join(FOREIGN)}"
TOLD = "is a pod here and in no node's podCIDR: set cluster_cidrs"


@pytest.fixture
def ready(cluster: Cluster) -> Cluster:
    cluster.proxy("nftables")
    return cluster


def run(
    cluster: Cluster,
    directory: Path,
    rows: Callable[[Traffic], list[Row]],
    *arguments: str,
    sizes: Sequence[int] = SIZES,
) -> Sums:
    """Make connections of these kinds, and return what was said of them."""
    with counted(cluster, directory, *arguments) as traffic:
        traffic.make(rows(traffic), *sizes)
        return traffic.sums()


def of_pods(traffic: Traffic) -> list[Row]:
    """Return connections between pods of both nodes, and to and from outside."""
    cluster, start = traffic.cluster, traffic.cluster.run_pod
    (a, _), outside = cluster.nodes.values(), cluster.outside
    client, near, far = start("client", A), start("near", A), start("far", B)
    for place in (near, far, outside):
        traffic.listen(place, WEB)
    traffic.tap(client, near, far, a, outside)
    here = traffic.expose("here", [near], Port(80, WEB), kind="NodePort")
    there = traffic.expose("there", [far], Port(80, WEB), kind="NodePort")
    return [
        Row("pod to pod here", client, on(near, WEB), ("a both*",)),
        Row("pod to pod there", client, on(far, WEB), ("a source*", "b destination")),
        Row("and the other way", far, on(near, WEB), ("b source*", "a destination")),
        Row("ClusterIP here", client, cluster_ip(here), ("a both*",)),
        Row("ClusterIP there", client, cluster_ip(there), ("a source*", "b destination")),
        Row("host to ClusterIP there", a, cluster_ip(there), ("a source*", "b destination")),
        Row("pod to outside", client, on(outside, WEB), ("a source*",)),
        Row("outside to pod", outside, on(far, WEB), ("b destination*",)),
        Row("NodePort, backend here", outside, node_port(a, here), ("a destination*",)),
        Row("NodePort, backend there", outside, node_port(a, there), ("a transit*", "b destination")),
    ]


@pytest.mark.parametrize(
    ("routed_by_nodes", "arguments", "unsure"), [(False, [CIDRS], False), (True, [], True)], ids=["option", "routes"]
)
def test_pods_outside_pod_cidrs(
    ready: Cluster, tmp_path: Path, routed_by_nodes: bool, arguments: list[str], unsure: bool
) -> None:
    with foreign_pods(ready.network, routed_by_nodes=routed_by_nodes), counted(ready, tmp_path, *arguments) as traffic:
        traffic.make(of_pods(traffic), *SIZES)
        assert traffic.sums().mistakes() == []
        assert [said_unsure(traffic, node) for node in (A, B)] == [unsure] * 2


def said_unsure(traffic: Traffic, node: str) -> bool:
    """Return whether an agent that left had said that it could not be sure, in its log and in its last line."""
    agent = traffic.agents.agent(node)
    (last,) = agent.lines("stopped:")
    warned, counted_ = bool(agent.lines(TOLD)), "primary_unsure=" in last and "primary_unsure=0" not in last
    assert warned == counted_, agent.said
    return warned


def test_pods_that_no_node_can_know_are_said(ready: Cluster, tmp_path: Path) -> None:
    with foreign_pods(ready.network, routed_by_nodes=False), counted(ready, tmp_path) as traffic:
        traffic.make(of_pods(traffic), 100)
        sums = traffic.sums()
        assert [said_unsure(traffic, node) for node in (A, B)] == [True, True]
        wrong = {line.partition(" (")[0] for line in sums.misplaced()}
        assert wrong == {"pod to pod there"}  # the client is in no Service: the other node takes it for a stranger
        assert sums.miscounted() != []


def in_overlay(traffic: Traffic) -> list[Row]:
    """Return calls that are masqueraded to a tunnel's address, and calls that are not."""
    cluster, start = traffic.cluster, traffic.cluster.run_pod
    (a, _), outside = cluster.nodes.values(), cluster.outside
    client, far = start("client", A), start("far", B)
    for transport, port in (("tcp", WEB), ("udp", DNS)):
        traffic.listen(far, port, transport)
    traffic.tap(client, far, a, outside)
    web = traffic.expose("web", [far], Port(80, WEB), kind="NodePort", families=["IPv4"])
    dns = traffic.expose("dns", [far], Port(53, DNS, "UDP"), kind="NodePort", families=["IPv4"])
    return [
        Row("NodePort", outside, ported(node_port(a, web)), ("a transit*", "b destination")),
        Row("NodePort, UDP", outside, ported(node_port(a, dns)), ("a transit*", "b destination"), "udp"),
        Row("pod to NodePort", client, ported(node_port(a, web)), ("a source*", "b destination")),
        Row("pod to pod", client, ported(on(far, WEB)), ("a source*", "b destination")),
        Row("pod to Service", client, cluster_ip(web), ("a source*", "b destination")),
        Row("host to Service", a, cluster_ip(web), ("a source*", "b destination")),
        Row("host to pod", a, ported(on(far, WEB)), ("a source*", "b destination")),
        Row("host to NodePort", a, ported(node_port(a, web)), ("a source*", "b destination")),
    ]


def ported(to: At) -> At:
    """Return the IPv4 address only."""
    return to._replace(ip6="")


def test_calls_masqueraded_to_a_tunnels_address(ready: Cluster, tmp_path: Path) -> None:
    with overlay(ready.network):
        sums = run(ready, tmp_path, in_overlay, sizes=SMALL)
    masked = {sight.translated.src for one in sums.made if one.what == "NodePort" for sight in sums.sights(one)}
    assert masked == {"10.244.1.0"}
    assert sums.mistakes() == []


def by_the_second_card(traffic: Traffic, card: tuple[str, str]) -> list[Row]:
    """Return connections from and to the second segment; node-a has ``card`` there."""
    cluster, start = traffic.cluster, traffic.cluster.run_pod
    (a, _), outside = cluster.nodes.values(), cluster.outside
    client, near, far = start("client", A), start("near", A), start("far", B)
    for place in (near, far, a, outside):
        traffic.listen(place, WEB)
    traffic.tap(client, far, a, outside)
    traffic.tap(outside, a, device="eth1")
    more = {"externalIPs": list(card)}
    traffic.expose("here", [near], Port(81, WEB), **more)
    traffic.expose("there", [far], Port(82, WEB), **more)
    return [
        Row("its address, backend here", outside, At(*card, 81), ("a destination*",)),
        Row("its address, backend there", outside, At(*card, 82), ("a transit*", "b destination")),
        Row("the node by its second address", outside, At(*card, WEB), ("a destination*",)),
        Row("a pod there to the second address", far, At(*card, WEB), ("b source*", "a destination")),
        Row("a pod here to the second address", client, At(*card, WEB), ("a both*",)),
        Row("pod to the second segment", client, At("198.51.100.200", "2001:db8:1::c8", WEB), ("a source*",)),
        Row("host to the second segment", a, At("198.51.100.200", "2001:db8:1::c8", WEB), ("a source*",)),
    ]


def test_a_second_card(ready: Cluster, tmp_path: Path) -> None:
    a, b = ready.nodes.values()
    with second_card(ready.network, a) as card, masqueraded(a), routed(At(*card, 0), (b, a)):
        sums = run(ready, tmp_path, lambda traffic: by_the_second_card(traffic, card))
    assert sums.mistakes() == []


@pytest.mark.parametrize("arguments", [[f"--cluster-cidrs={','.join(SECOND)}"], []], ids=["option", "routes"])
def test_pods_reached_by_the_second_card(ready: Cluster, tmp_path: Path, arguments: list[str]) -> None:
    """Calls are masqueraded to an address of which no Node tells."""
    with pods_by_the_second_card(ready.network):
        sums = run(ready, tmp_path, of_pods, *arguments)
    masked = {sight.translated.src for one in sums.made if "NodePort" in one.what for sight in sums.sights(one)}
    assert "198.51.100.1" in masked
    assert sums.mistakes() == []


def test_what_only_passes_by_the_second_card(ready: Cluster, tmp_path: Path) -> None:
    """From the second segment through node-a to the control plane's, which is no node; answers go the same way."""
    (a, _), control = ready.nodes.values(), ready.network.control
    with second_card(ready.network, a), beyond(ready.network, a) as host, counted(ready, tmp_path) as traffic:
        with routed(host, (control, a)):
            traffic.listen(control, WEB)
            traffic.tap(host)
            traffic.make([Row("outside to outside", host, on(control, WEB), ("a transit*",))], *SIZES)
        assert traffic.sums().mistakes() == []


@pytest.mark.xfail(
    strict=True,
    reason="what a node routes is taken for a pod of that node by the others: nobody counts what it forwards unchanged",
)
def test_who_is_behind_a_node_and_no_pod(ready: Cluster, tmp_path: Path) -> None:
    (a, b), control = ready.nodes.values(), ready.network.control
    with second_card(ready.network, a), beyond(ready.network, a) as host, counted(ready, tmp_path) as traffic:
        far = ready.run_pod("far", B)
        for place in (control, far):
            traffic.listen(place, WEB)
        traffic.tap(host)
        with routed(host, (b, a), (control, b)), routed(control, (a, b)):
            rows = [
                Row("to a pod there", host, on(far, WEB), ("a transit", "b destination*")),
                Row("through both nodes", host, on(control, WEB), ("a transit*", "b transit")),
            ]
            traffic.make(rows, *SIZES)
        assert traffic.sums().misplaced() == []


def by_the_gateway(traffic: Traffic) -> list[Row]:
    """Return calls from pods of node-a that leave by node-b."""
    cluster = traffic.cluster
    client, hosted = cluster.run_pod("client", A), cluster.run_pod("far", B)
    traffic.listen(cluster.outside, WEB)
    for address in AWAY:
        traffic.listen(cluster.outside, DNS, "udp", address)
    traffic.tap(client, hosted)
    return [
        Row("pod to outside", client, At(*AWAY, WEB), ("a source*", "b transit")),
        Row("UDP", client, At(*AWAY, DNS), ("a source*", "b transit"), "udp"),
        Row("a pod of the gateway", hosted, At(*AWAY, WEB), ("b source*",)),
    ]


def test_an_egress_gateway(ready: Cluster, tmp_path: Path) -> None:
    a, b = ready.nodes.values()
    with egress_gateway(a, b, ready.outside, AWAY):
        sums = run(ready, tmp_path, by_the_gateway)
    assert sums.mistakes() == []
