"""The walk-through of NetObserv's article on packet translation, and what natlens says of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from natlens.ui.lab.traffic import TcpServer, talk
from tests.agent.process import wait_until
from tests.cluster.agents import Agents
from tests.cluster.cluster import Cluster
from tests.cluster.services import Port

CALLS = 12


def _dialled(agents: Agents, address: str) -> list[dict[str, Any]]:
    attributes = [record["attributes"] for record in agents.records("node-a")]
    return [one for one in attributes if one["destination.address"] == address]


@pytest.fixture
def records(proxied: Cluster, tmp_path: Path) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Pod ``client`` calls Service ``hello-pod`` in a loop; what node-a's agent says of it, and what must be said."""
    namespace = proxied.namespace("xlat-test")
    client = proxied.run_pod("client", "node-a", namespace)
    hello = proxied.run_pod("hello-pod", "node-a", namespace, ports=[Port(80, 8080, name="http")])
    service = proxied.expose("hello-pod", [hello], Port(80, 8080, name="http"), namespace=namespace)
    address = service["spec"]["clusterIP"]
    with Agents(proxied, tmp_path, nodes=["node-a"]) as agents, TcpServer(hello.network, 8080):
        ports = {talk(client.network, (address, 80), 200) for _ in range(CALLS)}
        assert len(ports) == CALLS
        wait_until(lambda: len(_dialled(agents, address)) >= CALLS, "a record of each call")
        agents.stop()
        said = _dialled(agents, address)
        assert {attributes["source.port"] for attributes in said} == ports
        yield (
            said,
            {
                "source.k8s.namespace.name": namespace,
                "source.k8s.pod.name": "client",
                "source.k8s.pod.uid": client.uid,
                "source.k8s.node.name": "node-a",
                "source.k8s.object.kind": "pod",
                "source.cloud.availability_zone": "zone-1",
                "destination.k8s.namespace.name": namespace,
                "destination.k8s.service.name": "hello-pod",
                "destination.k8s.service.uid": service["metadata"]["uid"],
                "destination.k8s.object.kind": "service",
                "destination.port": 80,
                "destination.nat.address": hello.ip,
                "destination.nat.port": 8080,
                "destination.nat.k8s.pod.name": "hello-pod",
                "destination.nat.k8s.pod.uid": hello.uid,
                "destination.nat.k8s.node.name": "node-a",
                "nat.kind": "dnat",
                "conntrack.zone.id": 0,
                "flow.reporter": "both",
                "flow.primary": True,
            },
        )
    proxied.withdraw(service)
    for pod in (client, hello):
        proxied.delete_pod(pod)


def test_every_call_is_one_record_with_all_its_names(records: tuple[list[dict[str, Any]], dict[str, Any]]) -> None:
    said, wanted = records
    assert len(said) == CALLS
    assert len({attributes["flow.id"] for attributes in said}) == CALLS
    for attributes in said:
        assert {name: attributes.get(name) for name in wanted} == wanted
