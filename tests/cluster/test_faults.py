"""The real API server away, hanging, compacted, set back: records go on with the names known, and natlens recovers."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import objects
from tests.cluster.api import ApiError
from tests.cluster.build import binaries
from tests.cluster.cluster import Cluster
from tests.cluster.faults import WATCHED, Scene, finish, requests, staged

AGAIN = "in step again"
AWAY = "changes are not seen; check the server's address"
OUTAGE_REQUESTS = 15  # of one resource, in 10 s: there is a backoff


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One of this module's own, of one node: others would not like what becomes of it."""
    with Cluster(binaries(), tmp_path_factory.mktemp("faults"), nodes=["node-a"]) as running:
        yield running


@pytest.fixture
def scene(own_cluster: Cluster, tmp_path: Path) -> Iterator[Scene]:
    with staged(own_cluster, tmp_path) as scene:
        yield scene


def test_api_server_is_killed_and_comes_back(scene: Scene) -> None:
    began, agent = time.monotonic(), scene.start()
    scene.check_named(agent, scene.client)

    scene.control.api.kill()
    died = time.monotonic()
    scene.await_lines(agent, AWAY)
    scene.check_named(agent, scene.client)
    scene.control.api.start()
    away_s = time.monotonic() - died

    scene.check_new_pod(agent, "late", 40)
    scene.check_once(agent, AGAIN, ["pods"])  # others are in step when they hear something: of a bookmark at last
    scene.check_once(agent, "changes are not seen")
    assert finish(agent, began)["identity_synced{resource=pods}"] == 1
    for resource in WATCHED:
        refused = requests(agent, "connect")[resource]
        assert 2 <= refused <= OUTAGE_REQUESTS * max(away_s / 10, 1)


def test_health_says_what_is_out_of_step(scene: Scene) -> None:
    began, agent = time.monotonic(), scene.start()
    scene.control.api.stop()
    try:
        scene.await_lines(agent, AWAY)
        told = finish(agent, began)
    finally:
        scene.control.api.start()

    for resource in WATCHED:
        assert told[f"identity_synced{{resource={resource}}}"] == 0
        assert told[f"identity_heard_s{{resource={resource}}}"] <= time.time()


def test_api_server_is_not_there_when_natlens_starts(scene: Scene) -> None:
    kubeconfig = scene.control.kubeconfig(scene.directory / "kubeconfig")
    scene.control.api.stop()
    try:
        began, agent = time.monotonic(), scene.start(kubeconfig=kubeconfig, until="")
        before = scene.call(agent, scene.client)
        scene.await_lines(agent, "connect: ", [*WATCHED, "nodes"])
    finally:
        scene.control.api.start()

    assert not [name for name in before if ".k8s." in name]
    agent.wait_for("names are current", 60)
    scene.check_named(agent, scene.client)
    told = finish(agent, began)
    assert {told[f"identity_synced{{resource={resource}}}"] for resource in WATCHED} == {1}


def test_api_server_hangs(scene: Scene) -> None:
    began, agent = time.monotonic(), scene.start()
    pid = scene.control.api.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        scene.check_named(agent, scene.client)
        other = scene.start(kubeconfig=scene.directory / "kubeconfig", until="")
        unnamed = scene.call(other, scene.client)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert not [name for name in unnamed if ".k8s." in name]
    scene.check_new_pod(agent, "late")
    other.wait_for("names are current", 40)
    scene.check_named(other, scene.client)
    for one in (agent, other):
        finish(one, began)


def test_etcd_is_compacted(scene: Scene) -> None:
    began, agent = time.monotonic(), scene.start()
    for number in range(20):  # so that what natlens has seen is not the newest
        scene.cluster.admin.apply(objects.namespace(f"other-{number}"))

    scene.control.compact()

    scene.check_named(agent, scene.client)
    scene.check_new_pod(agent, "late", 40)
    agent.wait_for("names are current")
    finish(agent, began)
    gone = requests(agent, "410")
    assert gone["pods"] == 1, agent.said


def test_cluster_is_set_back(scene: Scene) -> None:
    snapshot = scene.control.snapshot()
    began, agent = time.monotonic(), scene.start()
    lost = scene.cluster.run_pod("lost", "node-a")
    scene.await_named(agent, lost)
    for number in range(20):
        scene.cluster.admin.apply(objects.namespace(f"never-{number}"))

    scene.control.restore(snapshot)

    scene.check_named(agent, scene.client)
    scene.check_new_pod(agent, "late", 60)
    with pytest.raises(ApiError, match="not found"):
        scene.cluster.delete_pod(lost)
    finish(agent, began)
