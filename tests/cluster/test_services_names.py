"""What names say beside the name: owners, labels, annotations, networks; and where pods of other nodes are known."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from natlens.ui.lab.traffic import TcpServer
from tests.cluster.calling import Stage, staged
from tests.cluster.cluster import Cluster
from tests.cluster.named import EXTERNAL, gateway, node, pod, service, stranger
from tests.cluster.objects import owner
from tests.cluster.pods import ClusterPod
from tests.cluster.proxy import Mode
from tests.cluster.services import Port

WEB = 8080
A, B = "node-a", "node-b"
PARTNER = "203.0.113.9"
HASH = "7d4b9c8f6"
TEAM, HOSTNAME = "example.com/team", "kubernetes.io/hostname"
OPTIONS = f"--labels=app,tier,{HOSTNAME}", f"--annotations={TEAM}", "--cidr-labels=203.0.113.0/24=partner"


@pytest.fixture(scope="module")
def stage(proxy_mode: Mode, running_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(running_cluster, tmp_path_factory.mktemp(proxy_mode), *OPTIONS) as running:
        running.await_nodes()
        yield running


@pytest.fixture(scope="module")
def client(stage: Stage) -> ClusterPod:
    return stage.cluster.run_pod("client", A)


def owned(cluster: Cluster) -> dict[str, ClusterPod]:
    """Make a pod of each kind of owner; returns each by the owner's kind."""
    minutes = int(time.time() / 60)
    rollout = {**owner("Job", "canary"), "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
    owners = {
        "Deployment": (f"web-{HASH}-x7k2p", owner("ReplicaSet", f"web-{HASH}")),
        "StatefulSet": ("db-0", owner("StatefulSet", "db")),
        "DaemonSet": ("log-q2w4z", owner("DaemonSet", "log")),
        "Job": ("brief-x7k2p", owner("Job", "brief")),
        "CronJob": (f"report-{minutes}-k8s2p", owner("Job", f"report-{minutes}")),
        "Rollout": ("canary-1", rollout),
    }
    labels = {"Deployment": {"pod-template-hash": HASH}}
    return {
        kind: cluster.run_pod(name, A, owners=[reference], labels=labels.get(kind))
        for kind, (name, reference) in owners.items()
    }


def test_owners(stage: Stage) -> None:
    pods = owned(stage.cluster)
    names = {"Deployment": "web", "StatefulSet": "db", "DaemonSet": "log", "Job": "brief", "CronJob": "report"}
    stage.expose("owned", list(pods.values()), Port(80, WEB), families=["IPv4"])
    far = stage.cluster.run_pod("far", B)
    with ExitStack() as stack:
        for one in pods.values():
            stack.enter_context(TcpServer(one.network, WEB))
        calls = {kind: stage.tcp(far, (one.ip, WEB)) for kind, one in pods.items()}

    for kind, call in calls.items():
        derived = True if kind in {"Deployment", "CronJob"} else None
        told = {"k8s.owner.name": names.get(kind, "canary"), "k8s.owner.type": kind, "k8s.owner.derived": derived}
        stage.check(call, A, stranger(far), {**pod(pods[kind]), **told})
        # the other node has them from the EndpointSlice: only names tell, and only a Deployment's do
        stage.check(call, B, pod(far), {**pod(pods[kind]), **(told if kind == "Deployment" else {})})


def test_labels_and_annotations(stage: Stage, client: ClusterPod) -> None:
    cluster = stage.cluster
    web = cluster.run_pod("labelled", A, labels={"app": "web", "tier": "front", "other": "x"})
    cluster.admin.patch(web.thing, {"metadata": {"annotations": {TEAM: "blue 💙", "example.com/other": "y"}}})
    made = stage.expose("labelled", [web], Port(80, WEB), families=["IPv4"], labels={"app": "shop", "other": "z"})
    at = cluster.nodes[A]
    with TcpServer(web.network, WEB):
        calls = stage.tcp(client, (made["spec"]["clusterIP"], 80)), stage.tcp(at, (made["spec"]["clusterIP"], 80))

    told = {"k8s.pod.label.app": "web", "k8s.pod.label.tier": "front", f"k8s.pod.annotation.{TEAM}": "blue 💙"}
    shop, backend = {**service(made), "k8s.service.label.app": "shop"}, {**pod(web), **told}
    named = {**node(at), f"k8s.node.label.{HOSTNAME}": A}
    stage.check(calls[0], A, pod(client), shop, destination_nat=backend)
    stage.check(calls[1], A, named, shop, source_nat=gateway(web), destination_nat=backend)


def test_what_is_outside(stage: Stage, client: ClusterPod) -> None:
    outside = stage.cluster.outside
    outside.namespace.ip(f"addr add {PARTNER}/32 dev lo")
    with TcpServer(outside.namespace, WEB):
        calls = [stage.tcp(client, (address, WEB)) for address in (outside.ip, outside.ip6, PARTNER)]
    outside.namespace.ip(f"addr del {PARTNER}/32 dev lo")

    stage.check(calls[0], A, pod(client), EXTERNAL)
    stage.check(calls[1], A, pod(client, 6), EXTERNAL)
    stage.check(calls[2], A, pod(client), {"k8s.object.kind": "partner"})
