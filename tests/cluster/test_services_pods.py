"""Which pods are known beside those behind Services: ``--pods``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from natlens.ui.lab.traffic import TcpServer
from tests.agent.process import wait_until
from tests.cluster.calling import Stage, staged
from tests.cluster.cluster import Cluster
from tests.cluster.named import pod, service, stranger
from tests.cluster.pods import ClusterPod
from tests.cluster.services import Port

WEB = 8080
A, B = "node-a", "node-b"
LOOKUP_S = 25.0  # there is one request in 10 s


@contextmanager
def running(cluster: Cluster, directory: Path, pods: str) -> Iterator[tuple[Stage, ClusterPod, ClusterPod]]:
    """Run natlens with that option; gives a client, and a pod of the other node where something listens."""
    with staged(cluster, directory, f"--pods={pods}") as stage:
        client, far = cluster.run_pod("client", A), cluster.run_pod("far", B)
        stage.await_nodes()
        with TcpServer(far.network, WEB):
            yield stage, client, far


def test_lookup(proxied: Cluster, tmp_path: Path) -> None:
    with running(proxied, tmp_path, "node+lookup") as (stage, client, far):
        calls = [stage.tcp(client, (far.ip, WEB))]

        def named() -> bool:
            if stage.who(calls[-1], A, "destination") == far.uid:
                return True
            calls.append(stage.tcp(client, (far.ip, WEB)))
            return False

        wait_until(named, "the name of a pod that was looked up", LOOKUP_S)
        last = stage.tcp(client, (far.ip, WEB))
        stage.check(last, A, pod(client), pod(far))
        for call in calls:
            assert stage.who(call, A, "destination") in {None, far.uid}


def test_all_pods(proxied: Cluster, tmp_path: Path) -> None:
    with running(proxied, tmp_path, "cluster") as (stage, client, far):
        calls = [stage.tcp(client, (address, WEB)) for address in (far.ip, far.ip6)]

        for at in (A, B):
            for call, family in zip(calls, (4, 6), strict=True):
                stage.check(call, at, pod(client, family), pod(far, family))


def test_no_pods_but_those_behind_services(proxied: Cluster, tmp_path: Path) -> None:
    with running(proxied, tmp_path, "off") as (stage, client, far):
        direct = stage.tcp(client, (far.ip, WEB))
        stage.check(direct, A, stranger(client), stranger(far))
        web = stage.expose("web", [far], Port(80, WEB))
        through = stage.tcp(client, (web["spec"]["clusterIP"], 80))

        stage.check(through, A, stranger(client), service(web), destination_nat=pod(far))
        stage.check_onward(through, A, B, stranger(client), pod(far))
