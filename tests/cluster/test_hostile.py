"""Objects that are as bad as the API server lets them be: natlens stays small, and what it writes is OTLP."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from natlens.ui.lab.traffic import TcpServer
from tests.agent.process import Agent
from tests.cluster.build import binaries
from tests.cluster.cluster import Cluster
from tests.cluster.crowd import Store
from tests.cluster.faults import NODE, WEB, Scene, finish, staged

BIG, ODD = "example.com/big", "example.com/odd"
LONG_NAME = ("n" * 62 + ".") * 4 + "n"  # 253 bytes, the most that a name has
CONTROLS = "".join(map(chr, range(32))) + "\x7f\x85\u2028\u202e\ufeff\ufffe\U0010ffff\u0301'\"\\ {}=,"
KEPT_BYTES = 1024
GROWN_MIB = 10.0
VALUES, WARM = 100_000, 10_000


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One of this module's own, of one node: it writes to its etcd."""
    with Cluster(binaries(), tmp_path_factory.mktemp("hostile"), nodes=["node-a"]) as running:
        yield running


@pytest.fixture
def scene(own_cluster: Cluster, tmp_path: Path) -> Iterator[Scene]:
    with staged(own_cluster, tmp_path) as scene:
        yield scene


def rss_mib(agent: Agent) -> float:
    (kib,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{agent.pid}/status").read_text())
    return int(kib) / 1024


def test_names_as_long_as_they_may_be(scene: Scene) -> None:
    space = scene.cluster.namespace("s" * 63)
    began, agent = time.monotonic(), scene.start("--labels=app")
    pod = scene.cluster.run_pod(LONG_NAME, NODE, space, labels={"app": "v" * 63})

    scene.await_named(agent, pod)
    said = scene.call(agent, pod)

    assert said["source.k8s.pod.name"] == LONG_NAME
    assert said["source.k8s.namespace.name"] == space
    assert said["source.k8s.pod.label.app"] == "v" * 63
    finish(agent, began)


def test_annotations_are_cut_and_control_characters_are_only_text(scene: Scene) -> None:
    began, agent = time.monotonic(), scene.start(f"--annotations={BIG},{ODD}")
    pods = [scene.cluster.run_pod(f"big-{number}", NODE) for number in range(40)]
    before = rss_mib(agent)
    for pod in pods:
        told = {BIG: "€" * (85 << 10), ODD: CONTROLS}  # 255 KiB; all annotations of an object may have 256 KiB
        scene.cluster.admin.patch(pod.thing, {"metadata": {"annotations": told}})
    with TcpServer(pods[-1].network, WEB):
        said = scene.call(agent, pods[-1])
    while f"source.k8s.pod.annotation.{ODD}" not in said:
        assert time.monotonic() < began + 60, said
        said = scene.call(agent, pods[-1])

    assert said[f"source.k8s.pod.annotation.{ODD}"] == CONTROLS
    cut = said[f"source.k8s.pod.annotation.{BIG}"]
    assert cut == "€" * (KEPT_BYTES // 3)
    assert rss_mib(agent) - before < GROWN_MIB
    finish(agent, began)


def test_values_of_a_label_come_and_go(scene: Scene) -> None:
    began, agent = time.monotonic(), scene.start("--labels=app")
    last = change_label(scene, 0, WARM)
    await_label(scene, agent, last)
    before = rss_mib(agent)

    for first in range(WARM, VALUES, WARM):
        last = change_label(scene, first, WARM)
        await_label(scene, agent, last)

    assert rss_mib(agent) - before < GROWN_MIB
    finish(agent, began)


def change_label(scene: Scene, first: int, count: int) -> str:
    """Give ``client`` so many labels in turn; returns the last."""
    told = scene.cluster.admin.read(scene.client.thing)
    with Store(scene.control.etcd.namespace) as store:
        for number in range(first, first + count):
            told["metadata"]["labels"] = {"app": f"value-{number:050}"}
            store.put_one(told)
    return str(told["metadata"]["labels"]["app"])


def await_label(scene: Scene, agent: Agent, value: str) -> None:
    """Wait until a record has this label."""
    deadline = time.monotonic() + 30
    while scene.call(agent, scene.client).get("source.k8s.pod.label.app") != value:
        assert time.monotonic() < deadline, f"no record has {value}"
