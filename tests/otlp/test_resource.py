"""The resource: the observer."""

import socket
import uuid
from pathlib import Path

import pytest

from natlens import __version__
from natlens.otlp.resource import INSTANCES, RESOURCE_ATTRIBUTES, Observer, host_id, resource

MACHINE = "fdbf79e8af94cb7f9e8df36789187052"
NODE = Observer(
    host_name="host-1",
    host_id=MACHINE,
    node_name="node-1",
    node_uid="uid-1",
    cluster_name="prod",
    cluster_uid="uid-c",
    availability_zone="a",
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)


def values(observer: Observer) -> dict[str, str]:
    return {one.key: one.value.string_value for one in resource(observer).attributes}


def test_all_that_is_known() -> None:
    assert values(NODE) == {
        "service.name": "natlens",
        "service.version": __version__,
        "service.instance.id": str(uuid.uuid5(INSTANCES, "uid-1")),
        "host.name": "host-1",
        "host.id": MACHINE,
        "k8s.node.name": "node-1",
        "k8s.node.uid": "uid-1",
        "k8s.cluster.name": "prod",
        "k8s.cluster.uid": "uid-c",
        "cloud.availability_zone": "a",
    }


def test_what_is_not_known_is_absent_and_the_instance_is_the_host() -> None:
    found = values(Observer(host_name="host-1", host_id=MACHINE, cluster_name=""))
    assert set(found) == {"service.name", "service.version", "service.instance.id", "host.name", "host.id"}
    assert found["service.instance.id"] == str(uuid.uuid5(INSTANCES, MACHINE))


def test_variables_win_and_name_the_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.cluster.name=other,k8s.node.uid=u%2C2,team=a b,host.name=")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "flows")
    found = values(NODE)
    assert (found["k8s.cluster.name"], found["team"], found["service.name"]) == ("other", "a b", "flows")
    assert found["host.name"] == "host-1"
    assert found["service.instance.id"] == str(uuid.uuid5(INSTANCES, "u,2"))
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=mine")
    assert values(NODE)["service.instance.id"] == "mine"


def test_text_that_is_not_utf8_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=\udcff")
    assert values(NODE)["team"] == "\ufffd"


def test_the_host_id_is_the_machine_id_or_stable(tmp_path: Path) -> None:
    fallback = host_id("host-1", tmp_path)
    assert fallback == host_id("host-1", tmp_path) != host_id("host-2", tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("uninitialized\n")
    assert host_id("host-1", tmp_path) == fallback
    (tmp_path / "etc/machine-id").write_text(MACHINE + "\n")
    assert host_id("host-1", tmp_path) == MACHINE
    assert Observer.here(tmp_path, node_name="n").host_id == MACHINE


def test_what_is_known_of_this_node_is_told_beside_what_the_host_says(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text(MACHINE + "\n")
    here = Observer.here(tmp_path, node_uid="uid-1", cluster_uid="uid-c", availability_zone="a", node_name=None)
    assert values(here) == {
        "service.name": "natlens",
        "service.version": __version__,
        "service.instance.id": str(uuid.uuid5(INSTANCES, "uid-1")),
        "host.name": socket.gethostname(),
        "host.id": MACHINE,
        "k8s.node.uid": "uid-1",
        "k8s.cluster.uid": "uid-c",
        "cloud.availability_zone": "a",
    }
    assert Observer.here(tmp_path, host_name="told").host_name == "told"


def test_names_are_unique_and_examples_are_text() -> None:
    assert len({row.name for row in RESOURCE_ATTRIBUTES}) == len(RESOURCE_ATTRIBUTES)
    assert all(row.example and row.brief for row in RESOURCE_ATTRIBUTES)
