"""The API as natlens meets it: every right, this node, its pods; the tests' API server says no where it is told to."""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from tests.identity.api.manifests import node, pod
from tests.identity.api.recorder import kubeconfig
from tests.identity.api.script import Hang, Refuse
from tests.identity.api.server import ApiServer
from tests.ui.doctoring import FEW, looked, one, worst

from natlens.config import Options
from natlens.identity.api import client
from natlens.kernel.routes import Bound, Network
from natlens.ui.doctor.check import Finding, Status
from natlens.ui.doctor.kubernetes import look_at_api, look_at_node, look_at_rights
from natlens.ui.doctor.machine import Machine

PATHS = {
    "services": "/api/v1/services",
    "endpointslices": "/apis/discovery.k8s.io/v1/endpointslices",
    "pods": "/api/v1/pods",
    "nodes": "/api/v1/nodes",
}
CLUSTER = "/api/v1/namespaces/kube-system"


@pytest.fixture(autouse=True)
def _nobodys_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        server.store.put("Node", node("n1"))
        server.store.put("Namespace", {"metadata": {"name": "kube-system", "uid": "u"}})
        yield server


def machine(api: ApiServer | str, tmp_path: Path, **options: object) -> Machine:
    path = kubeconfig(tmp_path / "kubeconfig", api if isinstance(api, str) else api.url)
    given = {**FEW, "kubeconfig": str(path), "node_name": "n1", **options}
    return Machine(Options(**given), environ={})


def test_all_is_well(api: ApiServer, tmp_path: Path) -> None:
    here = machine(api, tmp_path)
    assert [finding.found for finding in looked(look_at_api, here)] == [f"{api.url} answers and lets natlens in"]
    rights = looked(look_at_rights, here)
    assert worst(rights) == Status.PASS
    assert [finding.found for finding in rights] == [
        "list services: allowed",
        "watch services: allowed",
        "list endpointslices: allowed",
        "watch endpointslices: allowed",
        "list pods (spec.nodeName=n1): allowed",
        "watch pods (spec.nodeName=n1): allowed",
        "list nodes (metadata.name=n1): allowed",
        "watch nodes (metadata.name=n1): allowed",
        "list nodes: allowed",
        "get namespaces (kube-system): allowed",
    ]
    lists = [request for request in api.requests if not request.watch and request.path in PATHS.values()]
    assert all(request.query["limit"] == "1" for request in lists)


@pytest.mark.parametrize("verb", ["list", "watch"])
@pytest.mark.parametrize("resource", [*PATHS])
def test_right_that_is_missing(api: ApiServer, tmp_path: Path, verb: str, resource: str) -> None:
    api.forever[verb, PATHS[resource]] = Refuse(403, f"cannot {verb} {resource}")
    found = [one for one in looked(look_at_rights, machine(api, tmp_path)) if one.status != Status.PASS]
    assert found
    assert all(finding.found.startswith(f"{verb} {resource}") for finding in found)
    assert all(f"list and watch on {resource}" in finding.fix for finding in found)
    assert worst(found) == Status.FAIL
    (answers,) = looked(look_at_api, machine(api, tmp_path))
    assert answers.status == Status.PASS  # it lets natlens in, if not everywhere


def test_cluster_that_may_not_be_asked_for(api: ApiServer, tmp_path: Path) -> None:
    api.forever["list", CLUSTER] = Refuse(403, "cannot get namespaces")
    found = one(looked(look_at_rights, machine(api, tmp_path)), Status.WARN)
    assert found.found.endswith("the cluster has no uid in records")
    assert "/api/v1/namespaces/kube-system" in found.fix


def test_token_that_is_not_let_in(api: ApiServer, tmp_path: Path) -> None:
    api.admitted = "another"
    (found,) = looked(look_at_api, machine(api, tmp_path))
    assert found.status == Status.FAIL
    assert "unauthorized" in found.found
    assert found.fix.startswith("check the token or certificate")
    (rights,) = looked(look_at_rights, machine(api, tmp_path))
    assert rights.found.endswith("(the others are not tried)")


def test_server_that_is_not_there(tmp_path: Path) -> None:
    here = machine("http://127.0.0.1:1", tmp_path)
    (found,) = looked(look_at_api, here)
    assert (found.status, found.fix) == (Status.FAIL, "check the server's address, the network and the proxy")
    (rights,) = looked(look_at_rights, here)
    assert rights.status == Status.FAIL
    (node_found,) = looked(look_at_node, here)
    assert node_found.status == Status.WARN


def test_server_that_hangs(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LIST_READ_SECONDS", 0.2)
    api.forever["list", PATHS["services"]] = Hang()
    (found,) = looked(look_at_api, machine(api, tmp_path))
    assert found.fix == "check the API server and what is between"


def test_names_that_do_not_come_from_there(tmp_path: Path) -> None:
    here = Machine(Options(**FEW), environ={})
    assert worst([*looked(look_at_api, here), *looked(look_at_rights, here), *looked(look_at_node, here)]) == "PASS"
    assert tmp_path.exists()


def test_node_of_another_name(api: ApiServer, tmp_path: Path) -> None:
    (found,) = looked(look_at_node, machine(api, tmp_path, node_name="n2"))
    assert (found.status, found.fix) == (Status.FAIL, "set node_name from spec.nodeName")


def local(monkeypatch: pytest.MonkeyPatch, *bound: str) -> None:
    """Let this host have the address of the tests' Node, and these pods by its routes."""
    monkeypatch.setattr(Network, "is_local", lambda _, address: address == "192.0.2.1")
    monkeypatch.setattr(Network, "bound", lambda _: [Bound(address, 1, 0) for address in bound])


def pods_told(api: ApiServer, tmp_path: Path, **options: object) -> list[Finding]:
    return looked(look_at_node, machine(api, tmp_path, **options))


def test_node_that_is_another_host(api: ApiServer, tmp_path: Path) -> None:
    found = one(pods_told(api, tmp_path), Status.WARN)
    assert found.found == "Node n1 has 192.0.2.1, none of which is this host's"


def test_pods_that_other_nodes_know(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local(monkeypatch, "10.0.0.9")
    api.store.put("Pod", pod("p", "10.0.0.7"))
    found = pods_told(api, tmp_path)
    assert worst(found) == Status.PASS
    assert found[-1].found == "other nodes know the addresses of 2 pods here to be in the cluster"


@pytest.mark.parametrize("by", ["API", "routes"])
def test_primary_unsure(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    local(monkeypatch, *(["172.16.0.5"] if by == "routes" else []))
    if by == "API":
        api.store.put("Pod", pod("p", "172.16.0.5"))
    found = one(pods_told(api, tmp_path), Status.WARN)
    assert found.found.startswith("1 of 1 pods here (172.16.0.5) are in no node's podCIDR")
    assert found.fix.startswith("set cluster_cidrs")
    assert worst(pods_told(api, tmp_path, cluster_cidrs=["172.16.0.0/12"])) == Status.PASS


def test_pods_of_a_pool_that_another_nodes_cidr_holds(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local(monkeypatch, "10.0.1.5")
    other = node("n2")
    other["spec"] = {"podCIDR": "10.0.1.0/24", "podCIDRs": ["10.0.1.0/24"]}
    api.store.put("Node", other)
    assert ip_address("10.0.1.5")
    assert worst(pods_told(api, tmp_path)) == Status.PASS


def test_pod_with_the_nodes_own_address_is_no_doubt(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local(monkeypatch)
    host = pod("h", "192.0.2.1")
    host["status"]["hostIP"] = "192.0.2.1"
    api.store.put("Pod", host)
    assert pods_told(api, tmp_path)[-1].found.startswith("other nodes know the addresses of 0 pods")
