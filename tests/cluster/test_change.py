"""Addresses that become another's while calls go on: a record names who had the address at the time, or nobody."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from natlens.ui.lab.traffic import TcpServer
from tests.agent.process import wait_until
from tests.cluster import objects
from tests.cluster.agents import Call
from tests.cluster.calling import Stage, staged
from tests.cluster.cluster import Cluster
from tests.cluster.named import pod, service, stranger
from tests.cluster.pods import ClusterPod
from tests.cluster.proxy import Mode
from tests.cluster.services import Port, endpoint, endpoint_slice

WEB, OPEN = 8080, 8081
A, B = "node-a", "node-b"
SURE_S = 2.1  # Kubernetes' times are whole seconds: what began in one is sure in the one after the next
PAUSE_S = 0.01


@pytest.fixture(scope="module")
def stage(proxy_mode: Mode, running_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(running_cluster, tmp_path_factory.mktemp(proxy_mode)) as running:
        running.await_nodes()
        yield running


@pytest.fixture(scope="module")
def client(stage: Stage) -> Iterator[ClusterPod]:
    client = stage.cluster.run_pod("client", A)
    with TcpServer(client.network, OPEN):
        yield client


def await_sure(since: float) -> None:
    """Wait until what began then is no longer in doubt."""
    wait_until(lambda: time.time() > since + SURE_S, "time passes")


@contextmanager
def going_on(stage: Stage, client: ClusterPod, to: tuple[str, int]) -> Iterator[list[Call]]:
    """Call again and again meanwhile, and give the calls."""
    calls: list[Call] = []
    over = threading.Event()

    def call() -> None:
        while not over.wait(PAUSE_S):
            calls.append(stage.tcp(client, to))

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield calls
    finally:
        over.set()
        caller.join()


def test_backends_swapped_under_load(stage: Stage, client: ClusterPod) -> None:
    cluster = stage.cluster
    pods = [cluster.run_pod(f"swapped-{number}", at) for number, at in enumerate((A, B, A, B))]
    with ExitStack() as stack:
        for one in pods:
            stack.enter_context(TcpServer(one.network, WEB))
        web = stage.expose("swapped", pods[:2], Port(80, WEB), families=["IPv4"])
        with going_on(stage, client, (web["spec"]["clusterIP"], 80)) as calls:
            for behind in ([pods[2]], pods[1:3], [pods[3]], [pods[0]]):
                cluster.slice(web, behind)
                stage.await_backends(web, behind)
            added = cluster.run_pod("swapped-4", A)
            stack.enter_context(TcpServer(added.network, WEB))
            cluster.slice(web, [added])
            stage.await_backends(web, [added])
            enough = len(calls) + 5
            wait_until(lambda: len(calls) >= enough, "calls to the last")
        named = {one.ip: one for one in (*pods, added)}
        assert {stage.backend(call, A) for call in calls} >= {pods[2].ip, pods[3].ip, pods[0].ip, added.ip}
        for call in calls:
            stage.check(call, A, pod(client), service(web), destination_nat=pod(named[stage.backend(call, A)]))


def test_a_services_address_given_to_another(stage: Stage, client: ClusterPod) -> None:
    cluster = stage.cluster
    web = cluster.run_pod("passed-on", A)
    with TcpServer(web.network, WEB):
        old = stage.expose("old", [web], Port(80, WEB), families=["IPv4"])
        address = old["spec"]["clusterIP"]
        first = stage.tcp(client, (address, 80))
        stage.check(first, A, pod(client), service(old), destination_nat=pod(web))
        before = stage.tcp(client, (address, 80))
        cluster.withdraw(old)
        new = stage.expose("new", [web], Port(80, WEB), families=["IPv4"], cluster_ips=[address])
        after, began = stage.tcp(client, (address, 80)), time.time()
        await_sure(began)
        last = stage.tcp(client, (address, 80))

        assert stage.who(before, A, "destination") in {old["metadata"]["uid"], None}
        assert stage.who(after, A, "destination") in {new["metadata"]["uid"], None}
        stage.check(last, A, pod(client), service(new), destination_nat=pod(web))


@contextmanager
def successor(cluster: Cluster, first: ClusterPod, name: str) -> Iterator[ClusterPod]:
    """Give a pod's address to another within some milliseconds: the API does not know yet."""
    at, created = first.node, cluster.admin.create(objects.pod(name, first.node.name))
    spare = at.pod(name)
    spare.namespace.ip(f"addr add {first.ip}/32 dev eth0\naddr del {spare.ip}/32 dev eth0")
    lab = replace(spare, ip=first.ip)
    at.namespace.ip(f"""
        route del {spare.ip}/32 dev {spare.device}
        link set {first.lab.device} down
        route add {first.ip}/32 dev {spare.device}
    """)
    try:
        yield ClusterPod(created, at, lab, objects.now())
    finally:
        at.remove(lab)
        cluster.admin.delete(created, grace=0)


def report(cluster: Cluster, running: ClusterPod) -> None:
    """Tell the API that a pod runs, as a kubelet does."""
    addresses = (running.ip, running.ip6), (running.node.ip, running.node.ip6)
    cluster.admin.patch(running.thing, {"status": objects.pod_status(*addresses, started=running.started)}, "status")


@pytest.mark.parametrize("at", [A, B])
def test_a_pods_address_given_to_another_at_once(stage: Stage, client: ClusterPod, at: str) -> None:
    cluster = stage.cluster
    first, began = cluster.run_pod(f"first-{at}", at), time.time()
    with TcpServer(first.network, WEB):
        web = stage.expose(f"reused-{at}", [first], Port(80, WEB), families=["IPv4"])
        to = web["spec"]["clusterIP"], 80
        await_sure(began)
        stage.check(stage.tcp(client, to), A, pod(client), service(web), destination_nat=pod(first))
        before = stage.tcp(client, to)
    with successor(cluster, first, f"second-{at}") as second, TcpServer(second.network, WEB):
        after, began = stage.tcp(client, to), time.time()
        cluster.delete_pod(first)
        report(cluster, second)
        cluster.slice(web, [second])
        await_sure(began)
        last = stage.tcp(client, to)

        check_reuse(stage, (before, after), at, (first, second))
        stage.check(last, A, pod(client), service(web), destination_nat=pod(second))
        if at == B:
            stage.check_onward(last, A, B, stranger(client), pod(second))


def check_reuse(stage: Stage, calls: tuple[Call, Call], at: str, pods: tuple[ClusterPod, ClusterPod]) -> None:
    """Check that a call before and one after name each its pod or none; the pod's own node knows the moment."""
    for call, one in zip(calls, pods, strict=True):
        assert stage.who(call, A, "destination.nat") in {one.uid, None}
        if at == B:
            assert stage.who(stage.onward(call, A), B, "destination") in {one.uid, None}


@pytest.mark.parametrize("at", [A, B])
def test_a_pod_that_ends_while_another_has_its_address(stage: Stage, client: ClusterPod, at: str) -> None:
    cluster = stage.cluster
    old = cluster.run_pod(f"ending-{at}", at)
    web = stage.expose(f"outlived-{at}", [old], Port(80, WEB), families=["IPv4"])
    cluster.delete_pod(old, grace=30)
    old.node.remove(old.lab)
    new = cluster.run_pod(f"began-{at}", at, ip=old.ip)
    cluster.slice(web, [new])
    ends = [endpoint(old.ip, pod=old.thing, ready=False, serving=False, terminating=True)]
    cluster.admin.create(endpoint_slice(f"outlived-{at}", web["metadata"]["name"], [Port(80, WEB)], ends))
    began = time.time()
    with TcpServer(new.network, WEB):
        doubtful = stage.tcp(client, (old.ip, WEB))
        await_sure(began)
        calls = stage.tcp(client, (web["spec"]["clusterIP"], 80)), stage.tcp(new, (client.ip, OPEN))

        assert cluster.admin.read(old.thing)["metadata"]["deletionTimestamp"]
        assert stage.who(doubtful, A, "destination") in {new.uid, None}
        assert stage.who(doubtful, at, "destination") in {new.uid, None}
        stage.check(calls[0], A, pod(client), service(web), destination_nat=pod(new))
        stage.check(calls[1], at, pod(new), pod(client) if at == A else stranger(client))


def test_a_job_of_less_than_a_second(stage: Stage, client: ClusterPod) -> None:
    cluster = stage.cluster
    began = time.monotonic()
    job = cluster.run_pod("brief-x7k2p", A, owners=[objects.owner("Job", "brief")])
    call = stage.tcp(job, (client.ip, OPEN), 3000)
    cluster.finish_pod(job)
    assert time.monotonic() < began + 1

    owned = pod(job, k8s__owner__name="brief", k8s__owner__type="Job")
    stage.check(call, A, owned, pod(client))


def test_a_pod_that_was_deleted_within_a_second(stage: Stage, client: ClusterPod) -> None:
    gone = stage.cluster.run_pod("gone", A)
    call = stage.tcp(gone, (client.ip, OPEN))
    stage.cluster.delete_pod(gone)

    stage.check(call, A, pod(gone), pod(client))
