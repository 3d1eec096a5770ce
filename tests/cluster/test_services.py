"""Services through a real kube-proxy: both families, several backends, hairpins, UDP, the other node."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from natlens.ui.lab.traffic import TcpServer, UdpServer
from tests.cluster.calling import Stage, staged
from tests.cluster.cluster import Cluster
from tests.cluster.named import gateway, node, pod, service, stranger
from tests.cluster.pods import ClusterPod
from tests.cluster.proxy import Mode
from tests.cluster.services import Port

WEB, DNS = 8080, 5353
A, B = "node-a", "node-b"


class Cast(NamedTuple):
    """A client, and pods where something listens: two beside the client, one on the other node."""

    client: ClusterPod
    near: ClusterPod
    next: ClusterPod
    far: ClusterPod


@pytest.fixture(scope="module")
def stage(proxy_mode: Mode, running_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(running_cluster, tmp_path_factory.mktemp(proxy_mode)) as running:
        yield running


@pytest.fixture(scope="module")
def cast(stage: Stage) -> Iterator[Cast]:
    cluster = stage.cluster
    places = ("client", A), ("near", A), ("next", A), ("far", B)
    cast = Cast(*(cluster.run_pod(name, at, labels={"app": name}) for name, at in places))
    with ExitStack() as stack:
        for one in cast[1:]:
            stack.enter_context(TcpServer(one.network, WEB))
            stack.enter_context(UdpServer(one.network, DNS))
        yield cast


def test_cluster_ip(stage: Stage, cast: Cast) -> None:
    web = stage.expose("one", [cast.near], Port(80, WEB))

    call = stage.tcp(cast.client, (web["spec"]["clusterIP"], 80), 3000)

    stage.check(call, A, pod(cast.client), service(web), destination_nat=pod(cast.near))


def test_backend_on_the_other_node_in_both_families(stage: Stage, cast: Cast) -> None:
    stage.await_nodes()
    web = stage.expose("dual", [cast.far], Port(80, WEB))

    calls = [stage.tcp(cast.client, (address, 80)) for address in web["spec"]["clusterIPs"]]

    for call, family in zip(calls, (4, 6), strict=True):
        far = pod(cast.far, family)
        stage.check(call, A, pod(cast.client, family), service(web), destination_nat=far)
        stage.check_onward(call, A, B, stranger(cast.client, family), far)


def test_single_stack_services_beside_each_other(stage: Stage, cast: Cast) -> None:
    four = stage.expose("four", [cast.near], Port(80, WEB), families=["IPv4"])
    six = stage.expose("six", [cast.near], Port(80, WEB), families=["IPv6"])

    calls = [stage.tcp(cast.client, (one["spec"]["clusterIP"], 80)) for one in (four, six)]

    stage.check(calls[0], A, pod(cast.client), service(four), destination_nat=pod(cast.near))
    stage.check(calls[1], A, pod(cast.client, 6), service(six), destination_nat=pod(cast.near, 6))


def test_three_backends(stage: Stage, cast: Cast) -> None:
    backends = {one.ip: one for one in cast[1:]}
    web = stage.expose("three", list(backends.values()), Port(80, WEB))
    to = web["spec"]["clusterIP"], 80

    calls = [stage.tcp(cast.client, to)]
    while {stage.backend(call, A) for call in calls} != backends.keys():
        assert len(calls) < 100
        calls.append(stage.tcp(cast.client, to))

    for call in calls:
        stage.check(call, A, pod(cast.client), service(web), destination_nat=pod(backends[stage.backend(call, A)]))


def test_hairpin(stage: Stage, cast: Cast) -> None:
    web = stage.expose("self", [cast.near], Port(80, WEB))

    calls = [stage.tcp(cast.near, (address, 80)) for address in web["spec"]["clusterIPs"]]

    for call, family in zip(calls, (4, 6), strict=True):
        own, masked = pod(cast.near, family), gateway(cast.near, family)
        stage.check(call, A, own, service(web), source_nat=masked, destination_nat=own)


def test_udp(stage: Stage, cast: Cast) -> None:
    dns = stage.expose("dns", [cast.near], Port(53, DNS, "UDP"), Port(80, WEB))

    calls = [stage.udp(cast.client, (address, 53)) for address in dns["spec"]["clusterIPs"]]

    for call, family in zip(calls, (4, 6), strict=True):
        stage.check(call, A, pod(cast.client, family), service(dns), destination_nat=pod(cast.near, family))


def test_the_node_itself_calls(stage: Stage, cast: Cast) -> None:
    web, at = stage.expose("nodes", [cast.near], Port(80, WEB)), stage.cluster.nodes[A]

    calls = [stage.tcp(at, (address, 80)) for address in web["spec"]["clusterIPs"]]

    for call, family in zip(calls, (4, 6), strict=True):
        near, masked = pod(cast.near, family), gateway(cast.near, family)
        stage.check(call, A, node(at, family), service(web), source_nat=masked, destination_nat=near)
