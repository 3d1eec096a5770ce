"""Services as they are called from outside and by nodes: NodePorts, load balancers, external addresses."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from natlens.ui.lab.traffic import TcpServer
from tests.cluster.api import Json
from tests.cluster.calling import Stage, staged
from tests.cluster.cluster import Cluster
from tests.cluster.named import EXTERNAL, gateway, node, pod, service
from tests.cluster.pods import ClusterPod
from tests.cluster.proxy import Mode
from tests.cluster.services import Port

WEB = 8080
A, B = "node-a", "node-b"
BALANCED, EXTRA = "203.0.113.10", "203.0.113.20"


class Cast(NamedTuple):
    """One pod on each node where something listens."""

    near: ClusterPod
    far: ClusterPod


@pytest.fixture(scope="module")
def stage(proxy_mode: Mode, running_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(running_cluster, tmp_path_factory.mktemp(proxy_mode)) as running:
        running.await_nodes()  # what is outside is told by what is inside
        yield running


@pytest.fixture(scope="module")
def cast(stage: Stage) -> Iterator[Cast]:
    cast = Cast(*(stage.cluster.run_pod(name, at) for name, at in (("near", A), ("far", B))))
    with ExitStack() as stack:
        for one in cast:
            stack.enter_context(TcpServer(one.network, WEB))
        yield cast


@pytest.fixture(scope="module")
def _routes(running_cluster: Cluster) -> Iterator[None]:
    """The world outside finds the load balancer's and the external address at node-a."""
    outside, near = running_cluster.outside.namespace, running_cluster.nodes[A].ip
    for address in (BALANCED, EXTRA):
        outside.ip(f"route add {address}/32 via {near}")
    yield
    for address in (BALANCED, EXTRA):
        outside.ip(f"route del {address}/32")


def node_port(made: Json) -> int:
    return int(made["spec"]["ports"][0]["nodePort"])


def expose(stage: Stage, name: str, pods: list[ClusterPod], **more: Any) -> Json:
    return stage.expose(name, pods, Port(80, WEB), **{"kind": "NodePort", **more})


def test_node_port_with_a_backend_beside_it(stage: Stage, cast: Cast) -> None:
    web, outside, at = expose(stage, "ported", [cast.near]), stage.cluster.outside, stage.cluster.nodes[A]

    calls = [stage.tcp(outside, (address, node_port(web)), 3000) for address in (at.ip, at.ip6)]

    for call, family in zip(calls, (4, 6), strict=True):
        near, masked = pod(cast.near, family), gateway(cast.near, family)
        stage.check(call, A, EXTERNAL, service(web), source_nat=masked, destination_nat=near)


def test_node_port_with_a_backend_on_the_other_node(stage: Stage, cast: Cast) -> None:
    web, outside, at = expose(stage, "crossed", [cast.far]), stage.cluster.outside, stage.cluster.nodes[A]

    calls = [stage.tcp(outside, (address, node_port(web))) for address in (at.ip, at.ip6)]

    for call, family in zip(calls, (4, 6), strict=True):
        masked, far = node(at, family), pod(cast.far, family)
        stage.check(call, A, EXTERNAL, service(web), source_nat=masked, destination_nat=far)
        stage.check_onward(call, A, B, masked, far)


def test_node_port_from_the_node_itself(stage: Stage, cast: Cast) -> None:
    web, at = expose(stage, "inner", [cast.near]), stage.cluster.nodes[A]

    calls = [stage.tcp(at, (address, node_port(web))) for address in (at.ip, at.ip6)]

    for call, family in zip(calls, (4, 6), strict=True):
        near, masked = pod(cast.near, family), gateway(cast.near, family)
        stage.check(call, A, node(at, family), service(web), source_nat=masked, destination_nat=near)


def test_node_port_of_the_other_node_from_a_node(stage: Stage, cast: Cast) -> None:
    web = expose(stage, "over", [cast.near])
    near, far = stage.cluster.nodes[A], stage.cluster.nodes[B]

    call = stage.tcp(near, (far.ip, node_port(web)))

    stage.check(call, A, node(near), service(web))
    stage.check(call, B, node(near), service(web), source_nat=node(far), destination_nat=pod(cast.near))
    stage.check_onward(call, B, A, node(far), pod(cast.near))


def test_traffic_policy_local_keeps_the_callers_address(stage: Stage, cast: Cast) -> None:
    web = expose(stage, "local", [cast.near], externalTrafficPolicy="Local")
    at, outside = stage.cluster.nodes[A], stage.cluster.outside

    call = stage.tcp(outside, (at.ip, node_port(web)))

    stage.check(call, A, {**EXTERNAL, "address": outside.ip}, service(web), destination_nat=pod(cast.near))


def test_traffic_policy_local_without_a_backend_on_the_node(stage: Stage, cast: Cast) -> None:
    web = expose(stage, "elsewhere", [cast.near], externalTrafficPolicy="Local")
    at = stage.cluster.nodes[B]

    call = stage.attempt(stage.cluster.outside, (at.ip, node_port(web)))

    stage.check_lost(call, B, EXTERNAL, service(web))


@pytest.mark.usefixtures("_routes")
def test_load_balancer_and_external_address(stage: Stage, cast: Cast) -> None:
    web = expose(stage, "balanced", [cast.near], kind="LoadBalancer", families=["IPv4"], externalIPs=[EXTRA])
    stage.cluster.admin.patch(web, {"status": {"loadBalancer": {"ingress": [{"ip": BALANCED}]}}}, "status")
    stage.cluster.await_rules(EXTRA, BALANCED)

    calls = [stage.tcp(stage.cluster.outside, (address, 80)) for address in (BALANCED, EXTRA)]

    for call in calls:
        near, masked = pod(cast.near), gateway(cast.near)
        stage.check(call, A, EXTERNAL, service(web), source_nat=masked, destination_nat=near)


def test_session_affinity(stage: Stage, cast: Cast) -> None:
    web = expose(stage, "loyal", list(cast), kind="ClusterIP", families=["IPv4"], sessionAffinity="ClientIP")
    client = stage.cluster.run_pod("loyal-client", A)

    calls = [stage.tcp(client, (web["spec"]["clusterIP"], 80)) for _ in range(8)]

    (chosen,) = {stage.backend(call, A) for call in calls}
    (backend,) = (one for one in cast if one.ip == chosen)
    for call in calls:
        stage.check(call, A, pod(client), service(web), destination_nat=pod(backend))
