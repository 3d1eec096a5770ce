"""Whose record counts where a node runs no agent, and when the agents are restarted."""

from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.services import Port, endpoint, endpoint_slice
from tests.cluster.topologies import egress_gateway, masqueraded
from tests.cluster.traffic_sum import At, Held, Row, Traffic, cluster_ip, counted, node_port, on

A, B = "node-a", "node-b"
WEB, DNS = 8080, 5353
AWAY = "203.0.113.80", "2001:db8:2::80"
AGENTS = "--agents=natlens/natlens"


@pytest.fixture
def ready(cluster: Cluster) -> Cluster:
    cluster.proxy("nftables")
    return cluster


@pytest.fixture
def _agents_on_node_b(ready: Cluster) -> None:
    """The headless Service of natlens' own, with an agent on one node."""
    port = Port(4317, 4317)
    ready.service("natlens", port, namespace="natlens", cluster_ips=["None"], families=["IPv4"])
    ends = [endpoint("10.244.2.250", node=B)]
    ready.admin.apply(endpoint_slice("natlens-1", "natlens", [port], ends, "natlens"))


def rows_without_an_agent_on_a(traffic: Traffic) -> list[Row]:
    cluster, run = traffic.cluster, traffic.cluster.run_pod
    (a, b), outside = cluster.nodes.values(), cluster.outside
    near, far, other = run("near", A), run("far", B), run("other", B)
    for place in (near, far, a, b, outside):
        traffic.listen(place, WEB)
    traffic.tap(near, far, other, a, b, outside)
    here = traffic.expose("here", [near], Port(80, WEB), kind="NodePort")
    there = traffic.expose("there", [far], Port(80, WEB), kind="NodePort")
    return [
        Row("pod to pod of the agent's node", near, on(far, WEB), ("b destination*",)),
        Row("pod to Service there", near, cluster_ip(there), ("b destination*",)),
        Row("host to pod there", a, on(far, WEB), ("b destination*",)),
        Row("pod to the agent's node", near, on(b, WEB), ("b destination*",)),
        Row("pod to its NodePort", near, node_port(b, there), ("b destination*",)),
        Row("NodePort of the agent's node and back", near, node_port(b, here), ("b transit*",)),
        Row("pod to outside by the gateway", near, At(*AWAY, WEB), ("b transit*",)),
        Row("NodePort without agent, backend there", outside, node_port(a, there), ("b destination*",)),
        Row("NodePort with agent, backend without", outside, node_port(b, here), ("b transit*",)),
        Row("pod of the agent's node", far, on(near, WEB), ("b source*",)),
        Row("its host to ClusterIP", b, cluster_ip(here), ("b source*",)),
        Row("within the agent's node", other, cluster_ip(there), ("b both*",)),
    ]


@pytest.mark.usefixtures("_agents_on_node_b")
def test_connections_of_a_node_without_agent_are_counted_by_the_next(ready: Cluster, tmp_path: Path) -> None:
    (a, b), outside = ready.nodes.values(), ready.outside
    with egress_gateway(a, b, outside, AWAY), counted(ready, tmp_path, AGENTS, nodes=(B,)) as traffic:
        traffic.make(rows_without_an_agent_on_a(traffic), 100, 4_000)
        sums = traffic.sums()
    assert sums.mistakes() == []


@pytest.mark.usefixtures("_agents_on_node_b")
def test_what_counts_is_fixed_at_a_flows_first_record(ready: Cluster, tmp_path: Path) -> None:
    """A slice that tells of an agent on node-a, where none is, and no longer does."""
    told = endpoint_slice("natlens-2", "natlens", [Port(4317, 4317)], [endpoint("10.244.1.250", node=A)], "natlens")
    ready.admin.create(told)
    with counted(ready, tmp_path, AGENTS, nodes=(B,)) as traffic:
        client, far = ready.run_pod("client", A), ready.run_pod("far", B)
        traffic.listen(far, WEB)
        traffic.tap(client)
        old = traffic.hold(Row("old", client, on(far, WEB), ("b destination",)))
        for _ in range(2):
            old.say()
            traffic.settle(0.7)
        ready.admin.delete(told)
        traffic.settle(0.5)
        old.say()
        traffic.make([Row("new", client, on(far, WEB), ("b destination*",))])
        traffic.settle(0.7)
        old.say()
        old.close()
        sums = traffic.sums()
    assert [*sums.misplaced(), *sums.unsteady()] == []
    assert max(sums.records_per_sight()) >= 3


def lasting(traffic: Traffic) -> list[Held]:
    """Return connections that an agent's restart finds, of every kind that there is a rule for."""
    cluster, run = traffic.cluster, traffic.cluster.run_pod
    (a, b), outside = cluster.nodes.values(), cluster.outside
    client, near, far = run("client", A), run("near", A), run("far", B)
    for place in (near, far, outside):
        traffic.listen(place, WEB)
        traffic.listen(place, DNS, "udp")
    traffic.tap(client, near, far, a, b, outside)
    here = traffic.expose("here", [near], Port(80, WEB), kind="NodePort")
    there = traffic.expose("there", [far], Port(80, WEB), kind="NodePort")
    dns = traffic.expose("dns", [far], Port(53, DNS, "UDP"))
    rows = [
        Row("pod to pod there", client, on(far, WEB), ("a source*", "b destination")),
        Row("ClusterIP here", client, cluster_ip(here), ("a both*",)),
        Row("ClusterIP there", client, cluster_ip(there), ("a source*", "b destination")),
        Row("hairpin", near, cluster_ip(here), ("a both*",)),
        Row("host to ClusterIP", a, cluster_ip(there), ("a source*", "b destination")),
        Row("NodePort, backend there", outside, node_port(a, there), ("a transit*", "b destination")),
        Row("NodePort there and back", client, node_port(b, here), ("a source*", "b transit", "a destination")),
        Row("outside to pod", outside, on(far, WEB), ("b destination*",)),
        Row("pod to outside", client, on(outside, WEB), ("a source*",)),
        Row("UDP there", client, cluster_ip(dns), ("a source*", "b destination"), "udp"),
    ]
    return [traffic.hold(row, address) for row in rows for address in (row.to.ip, row.to.ip6)]


def test_both_agents_are_restarted_in_mid_stream(ready: Cluster, tmp_path: Path) -> None:
    with masqueraded(*ready.nodes.values()), counted(ready, tmp_path) as traffic:
        held = lasting(traffic)
        for one in held:
            one.say(1_000)
        traffic.restart()
        for _ in range(2):
            for one in held:
                one.say(2_000 if one.is_tcp else 900)
            traffic.settle(0.6)
        for one in held:
            one.close()
        sums = traffic.sums()
    said, wanted = sums.totals()
    assert [*sums.misplaced(), *sums.miscounted(), *sums.strange()] == []
    assert said == {**wanted, "connections": 2 * wanted["connections"]}  # each life has a first record
    assert min(sums.records_per_sight()) >= 2
