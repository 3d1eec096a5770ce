"""Two nodes, everything at once: what counts on both together is what was made, and what passed on the wire."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.cluster.api import Json
from tests.cluster.api_server import SERVICE_IP
from tests.cluster.cluster import Cluster
from tests.cluster.nodes import ClusterNode
from tests.cluster.pods import ClusterPod
from tests.cluster.proxy import Mode
from tests.cluster.services import Port
from tests.cluster.sum_of_records import Sums
from tests.cluster.topologies import masqueraded
from tests.cluster.traffic_sum import At, Row, Traffic, cluster_ip, counted, node_port, on

WEB, DNS, DEAF = 8080, 5353, 5454
SIZES = 100, 3_000, 20_000
LASTING = {
    "pod to pod there",
    "ClusterIP here",
    "ClusterIP there",
    "NodePort, backend there",
    "host to ClusterIP there",
    "hairpin",
    "UDP by ClusterIP",
}
PAUSE_S = 0.6  # in what lasting connections say: longer than an interval


class Scene(NamedTuple):
    """Pods on two nodes; ``near`` and ``hosted`` are on the first, hosted in its own network."""

    traffic: Traffic
    a: ClusterNode
    b: ClusterNode
    client: ClusterPod
    near: ClusterPod
    far: ClusterPod
    hosted: ClusterPod


def direct(scene: Scene) -> list[Row]:
    traffic, a, b, client, near, far, hosted = scene
    outside = traffic.cluster.outside
    return [
        Row("pod to pod here", client, on(near, WEB), ("a both*",)),
        Row("pod to pod there", client, on(far, WEB), ("a source*", "b destination")),
        Row("and the other way", far, on(near, WEB), ("b source*", "a destination")),
        Row("host to pod there", a, on(far, WEB), ("a source*", "b destination")),
        Row("host-network pod to pod here", hosted, on(near, WEB), ("a both*",)),
        Row("host-network pod to pod there", hosted, on(far, WEB), ("a source*", "b destination")),
        Row("pod to the other node", client, on(b, WEB), ("a source*", "b destination")),
        Row("pod to its own node", client, on(a, WEB), ("a both*",)),
        Row("node to node", b, on(a, WEB), ("b source*", "a destination")),
        Row("pod to outside", client, on(outside, WEB), ("a source*",)),
        Row("host to outside", a, on(outside, WEB), ("a source*",)),
        Row("outside to pod", outside, on(far, WEB), ("b destination*",)),
        Row("outside to node", outside, on(a, WEB), ("a destination*",)),
        Row("pod to the API server", client, At(SERVICE_IP, "", 443), ("a source*",), "greeting"),
        Row("host to the API server", b, At(SERVICE_IP, "", 443), ("b source*",), "greeting"),
    ]


def datagrams(scene: Scene) -> list[Row]:
    client, far, outside = scene.client, scene.far, scene.traffic.cluster.outside
    return [
        Row("ping there", client, on(far, 0), ("a source*", "b destination"), "echo"),
        Row("ping outside", client, on(outside, 0), ("a source*",), "echo"),
        Row("UDP there", client, on(far, DNS), ("a source*", "b destination"), "udp"),
        Row("UDP without answer", client, on(far, DEAF), ("a source*", "b destination"), "silent"),
        Row("UDP without answer, outside", client, on(outside, DEAF), ("a source*",), "silent"),
        Row("UDP without answer, to a node", outside, on(scene.a, DEAF), ("a destination*",), "silent"),
    ]


def by_service(scene: Scene, here: Json, there: Json, dns: Json) -> list[Row]:
    _, a, b, client, near, far, hosted = scene
    return [
        Row("ClusterIP here", client, cluster_ip(here), ("a both*",)),
        Row("ClusterIP there", client, cluster_ip(there), ("a source*", "b destination")),
        Row("ClusterIP, the other way", far, cluster_ip(here), ("b source*", "a destination")),
        Row("hairpin", near, cluster_ip(here), ("a both*",)),
        Row("host to ClusterIP here", a, cluster_ip(here), ("a both*",)),
        Row("host to ClusterIP there", a, cluster_ip(there), ("a source*", "b destination")),
        Row("host-network pod to ClusterIP", hosted, cluster_ip(there), ("a source*", "b destination")),
        Row("pod to NodePort of its node", client, node_port(a, there), ("a source*", "b destination")),
        Row("pod to NodePort there and back", client, node_port(b, here), ("a source*", "b transit", "a destination")),
        Row("host to NodePort there", a, node_port(b, there), ("a source*", "b destination")),
        Row("host to its NodePort, backend there", a, node_port(a, there), ("a source*", "b destination")),
        Row("host to its NodePort, backend here", a, node_port(a, here), ("a both*",)),
        Row("UDP by ClusterIP", client, cluster_ip(dns), ("a source*", "b destination"), "udp"),
    ]


def from_outside(scene: Scene, here: Json, there: Json, local: Json, dns: Json) -> list[Row]:
    outside, a = scene.traffic.cluster.outside, scene.a
    return [
        Row("NodePort, backend here", outside, node_port(a, here), ("a destination*",)),
        Row("NodePort, backend there", outside, node_port(a, there), ("a transit*", "b destination")),
        Row("NodePort, policy Local", outside, node_port(a, local), ("a destination*",)),
        Row("NodePort, UDP there", outside, node_port(a, dns), ("a transit*", "b destination"), "udp"),
    ]


def rows_of(scene: Scene) -> list[Row]:
    expose, web = scene.traffic.expose, Port(80, WEB)
    here = expose("here", [scene.near], web, kind="NodePort")
    there = expose("there", [scene.far], web, kind="NodePort")
    local = expose("local", [scene.near], web, kind="NodePort", externalTrafficPolicy="Local")
    dns = expose("dns", [scene.far], Port(53, DNS, "UDP"), kind="NodePort")
    return [
        *direct(scene),
        *datagrams(scene),
        *by_service(scene, here, there, dns),
        *from_outside(scene, here, there, local, dns),
    ]


def stage(traffic: Traffic) -> Scene:
    """Run the pods, let everything listen, and measure where connections will begin."""
    run, (a, b), outside = traffic.cluster.run_pod, traffic.cluster.nodes.values(), traffic.cluster.outside
    client, near, far = run("client", a.name), run("near", a.name), run("far", b.name)
    hosted = run("hosted", a.name, host_network=True)
    for place in (near, far, a, b, outside):
        traffic.listen(place, WEB)
        traffic.listen(place, DNS, "udp")
        traffic.listen(place, DEAF, "silent")
    traffic.tap(client, near, far, a, b, outside)
    return Scene(traffic, a, b, client, near, far, hosted)


def everything(scene: Scene) -> None:
    """Make all connections while others last over several intervals."""
    rows = rows_of(scene)
    chosen = [row for row in rows if row.what in LASTING]
    lasting = [scene.traffic.hold(row, address) for row in chosen for address in (row.to.ip, row.to.ip6)]
    for size in SIZES:
        for one in lasting:
            one.say(500)
        scene.traffic.make(rows, size)
    scene.traffic.settle(PAUSE_S)
    for one in lasting:
        one.say(700)
        one.close()


@pytest.fixture(scope="module")
def sums(proxy_mode: Mode, running_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sums]:
    with (
        masqueraded(*running_cluster.nodes.values()),
        counted(running_cluster, tmp_path_factory.mktemp(proxy_mode)) as traffic,
    ):
        everything(stage(traffic))
        yield traffic.sums()


def test_each_connection_counts_once_and_every_node_knows_where_it_stands(sums: Sums) -> None:
    assert sums.misplaced() == []


def test_what_counts_is_what_passed_on_the_wire(sums: Sums) -> None:
    assert sums.miscounted() == []


def test_the_sum_over_both_nodes_is_what_was_made(sums: Sums) -> None:
    said, wanted = sums.totals()
    assert said == wanted
    assert wanted["connections"] > 200


def test_pods_have_their_names(sums: Sums) -> None:
    assert sums.misnamed() == []


def test_nothing_else_is_told_of(sums: Sums) -> None:
    assert sums.strange() == []


def test_nodes_agree_on_the_id_of_a_connection(sums: Sums) -> None:
    assert sums.misnumbered() == []


def test_records_of_a_flow_follow_on_each_other(sums: Sums) -> None:
    assert sums.unsteady() == []
    assert max(sums.records_per_sight()) > 2
