"""What may be behind a Service: nobody, 1,200, one that ends, no pod, a pod in the host's network, the API server."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import NamedTuple

import pytest

from natlens.ui.lab.traffic import TcpServer, dial
from tests.cluster.agents import Call
from tests.cluster.api import Json
from tests.cluster.api_server import PORT as API_PORT
from tests.cluster.api_server import SERVICE_IP
from tests.cluster.calling import Stage, staged
from tests.cluster.cluster import Cluster
from tests.cluster.named import apiserver, node, pod, service, stranger
from tests.cluster.pods import ClusterPod
from tests.cluster.proxy import Mode
from tests.cluster.services import Port, endpoint, endpoint_slice

WEB, METRICS, OTHER = 8080, 9100, 9200
A, B = "node-a", "node-b"
CROWD, SLICE = 1200, 100
BESIDE, MIRRORED = "203.0.113.7", "203.0.113.8"  # addresses of a machine outside
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"


class Cast(NamedTuple):
    """A client, and a pod on the other node where something listens."""

    client: ClusterPod
    far: ClusterPod


@pytest.fixture(scope="module")
def stage(proxy_mode: Mode, running_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(running_cluster, tmp_path_factory.mktemp(proxy_mode)) as running:
        yield running


@pytest.fixture(scope="module")
def cast(stage: Stage) -> Iterator[Cast]:
    cast = Cast(stage.cluster.run_pod("client", A), stage.cluster.run_pod("far", B))
    with ExitStack() as stack:
        stack.enter_context(TcpServer(cast.client.network, WEB))
        for port in (WEB, METRICS, OTHER):
            stack.enter_context(TcpServer(cast.far.network, port))
        yield cast


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_nobody(stage: Stage, cast: Cast, family: str) -> None:
    empty = stage.expose(f"empty-{family.lower()}", [], Port(80, WEB), families=[family])
    stage.cluster.await_rules(empty["spec"]["clusterIP"])

    call = stage.attempt(cast.client, (empty["spec"]["clusterIP"], 80))

    stage.check_lost(call, A, pod(cast.client, int(family[-1])), service(empty))


def test_headless(stage: Stage, cast: Cast) -> None:
    made = stage.cluster.service("headless", Port(METRICS, METRICS), cluster_ips=["None"])
    stage.cluster.slice(made, [cast.far])

    calls = [stage.tcp(cast.client, (address, METRICS)) for address in (cast.far.ip, cast.far.ip6)]

    named = {"k8s__service__name": "headless", "k8s__service__uid": made["metadata"]["uid"]}
    for call, family in zip(calls, (4, 6), strict=True):
        stage.check(call, A, pod(cast.client, family), pod(cast.far, family, **named))


def test_two_headless_services_are_none(stage: Stage, cast: Cast) -> None:
    for name in ("one", "two"):
        made = stage.cluster.service(name, Port(OTHER, OTHER), cluster_ips=["None"])
        stage.cluster.slice(made, [cast.far])

    call = stage.tcp(cast.client, (cast.far.ip, OTHER))

    stage.check(call, A, pod(cast.client), pod(cast.far))


@pytest.fixture
def crowd(stage: Stage, cast: Cast) -> Iterator[Json]:
    """A Service of 1,200 backends on node-b, all of them answered by one namespace."""
    cluster, where = stage.cluster, cast.far
    where.network.ip("route add local 10.250.0.0/16 dev lo")
    cluster.nodes[B].namespace.ip(f"route add 10.250.0.0/16 dev {where.lab.device}")
    cluster.nodes[A].namespace.ip(f"route add 10.250.0.0/16 via {cluster.nodes[B].ip}")
    made = cluster.service("crowd", Port(80, WEB), families=["IPv4"])
    for first in range(0, CROWD, SLICE):
        ends = [endpoint(crowd_ip(number), pod=crowd_pod(number)) for number in range(first, first + SLICE)]
        cluster.admin.create(endpoint_slice(f"crowd-{first}", "crowd", [Port(80, WEB)], ends))
    stage.await_places(made, {(crowd_ip(number), WEB) for number in range(CROWD)})
    yield made
    cluster.withdraw(made)
    cluster.nodes[A].namespace.ip("route del 10.250.0.0/16")


def crowd_ip(number: int) -> str:
    return f"10.250.{number // 250}.{number % 250 + 1}"


def crowd_pod(number: int) -> Json:
    metadata = {"namespace": "default", "name": f"crowd-{number}", "uid": f"uid-{number}"}
    return {"metadata": metadata, "spec": {"nodeName": B}}


def test_twelve_hundred(stage: Stage, cast: Cast, crowd: Json) -> None:
    calls = [stage.tcp(cast.client, (crowd["spec"]["clusterIP"], 80)) for _ in range(25)]
    last = stage.tcp(cast.client, (crowd_ip(CROWD - 1), WEB))

    numbers = {crowd_ip(number): number for number in range(CROWD)}
    named = {one: crowd_names(number) for one, number in numbers.items()}
    for call in calls:
        stage.check(call, A, pod(cast.client), service(crowd), destination_nat=named[stage.backend(call, A)])
    stage.check(last, A, pod(cast.client), named[crowd_ip(CROWD - 1)])
    assert len({numbers[stage.backend(call, A)] // SLICE for call in calls}) > 1


def crowd_names(number: int) -> Json:
    told = {"k8s.pod.name": f"crowd-{number}", "k8s.pod.uid": f"uid-{number}", "k8s.node.name": B}
    return {**told, "k8s.namespace.name": "default", "k8s.object.kind": "pod", "cloud.availability_zone": "zone-2"}


def test_one_that_ends_but_serves(stage: Stage, cast: Cast) -> None:
    ending = stage.cluster.run_pod("ending", B)
    web = stage.cluster.service("ends", Port(80, WEB))
    stage.cluster.delete_pod(ending, grace=30)
    stage.cluster.slice(web, [ending], ready=False, serving=True, terminating=True)
    stage.await_backends(web, [ending])

    with TcpServer(ending.network, WEB):
        calls = [stage.tcp(cast.client, (address, 80)) for address in web["spec"]["clusterIPs"]]

        for call, family in zip(calls, (4, 6), strict=True):
            stage.check(call, A, pod(cast.client, family), service(web), destination_nat=pod(ending, family))


@pytest.mark.parametrize("address", [BESIDE, MIRRORED])
def test_no_pod(stage: Stage, cast: Cast, address: str) -> None:
    outside, mirrored = stage.cluster.outside.namespace, address == MIRRORED
    name = "mirrored" if mirrored else "beside"
    web = stage.cluster.service(name, Port(80, WEB), families=["IPv4"])
    slice_ = endpoint_slice(name, name, [Port(80, WEB)], [endpoint(address)])
    if mirrored:
        slice_["metadata"]["labels"][MANAGED_BY] = "endpointslicemirroring-controller.k8s.io"
    stage.cluster.admin.create(slice_)
    stage.cluster.await_rules(web["spec"]["clusterIP"], (address, WEB))
    outside.ip(f"addr add {address}/32 dev lo")

    with TcpServer(outside, WEB, address):
        call = stage.tcp(cast.client, (web["spec"]["clusterIP"], 80))

        named = {**service(web), "k8s.object.kind": "endpoint", "address": address}
        stage.check(call, A, pod(cast.client), service(web), destination_nat=named)
    outside.ip(f"addr del {address}/32 dev lo")


def test_the_api_server(stage: Stage, cast: Cast) -> None:
    named, host = apiserver(stage.cluster), stage.cluster.control.host

    calls = [hang_up(stage, cast.client, (SERVICE_IP, 443)), hang_up(stage, cast.client, (host.ip, API_PORT))]

    stage.check(calls[0], A, pod(cast.client), named, destination_nat={**named, "address": host.ip})
    stage.check(calls[1], A, pod(cast.client), named)


def hang_up(stage: Stage, source: ClusterPod, to: tuple[str, int]) -> Call:
    """Dial, say nothing, and wait until the other side closes too."""
    with dial(source.network, to) as client:
        call = stage.note(Call(source.ip, client.getsockname()[1], *to))
        client.shutdown(1)
        with suppress(ConnectionResetError):
            client.recv(1)
    return call


def test_a_pod_of_the_hosts_network_while_the_node_talks(stage: Stage, cast: Cast) -> None:
    stage.await_nodes()
    far = stage.cluster.nodes[B]
    host = stage.cluster.run_pod("metrics", B, host_network=True, ports=[Port(METRICS, METRICS)])
    made = stage.expose("metrics", [host], Port(80, METRICS))
    with TcpServer(far.namespace, METRICS), TcpServer(far.namespace, OTHER):
        through = stage.tcp(cast.client, (made["spec"]["clusterIP"], 80))
        direct = stage.tcp(cast.client, (far.ip, METRICS))
        other = stage.tcp(cast.client, (far.ip, OTHER))
        out = stage.tcp(far, (cast.client.ip, WEB))

        client = pod(cast.client)
        stage.check(through, A, client, service(made), destination_nat=pod(host))
        stage.check_onward(through, A, B, stranger(cast.client), pod(host))
        for at, source in ((A, client), (B, stranger(cast.client))):
            stage.check(direct, at, source, pod(host))
            stage.check(other, at, source, node(far))
        stage.check(out, B, node(far), stranger(cast.client))
        stage.check(out, A, node(far), client)
