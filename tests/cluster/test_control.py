"""The control plane of the testbed: rights, tokens, restarts, a compacted and a restored etcd, other certificates."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cluster import objects
from tests.cluster.api import Api, ApiError
from tests.cluster.api_server import SERVICE_IP
from tests.cluster.build import binaries
from tests.cluster.cluster import Cluster
from tests.cluster.control import ControlPlane
from tests.cluster.credentials import MountedToken
from tests.cluster.network import Network

PODS = "/api/v1/pods"


@pytest.fixture
def natlens(cluster: Cluster) -> Iterator[Api]:
    """A client with natlens' own rights."""
    with closing(cluster.control.api.client(cluster.control.natlens_token())) as client:
        yield client


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(ApiError) as caught:
        call()
    return caught.value.reason


def test_the_api_server_is_the_pinned_version(cluster: Cluster) -> None:
    assert cluster.admin.get("/version")["gitVersion"] == "v1.36.2"


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/services",
        "/api/v1/pods",
        "/api/v1/nodes",
        "/api/v1/nodes/node-a",
        "/apis/discovery.k8s.io/v1/endpointslices",
        "/api/v1/namespaces/kube-system",
    ],
)
def test_natlens_may_read_what_it_needs(natlens: Api, path: str) -> None:
    assert natlens.get(path)["metadata"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/secrets",
        "/api/v1/configmaps",
        "/api/v1/namespaces",
        "/api/v1/namespaces/default",
        "/api/v1/namespaces/default/pods/any",
        "/api/v1/namespaces/default/services/kubernetes",
        "/metrics",
    ],
)
def test_natlens_may_read_nothing_else(natlens: Api, path: str) -> None:
    assert refused(lambda: natlens.get(path)) == "Forbidden"


def test_natlens_may_change_nothing(cluster: Cluster, natlens: Api) -> None:
    pod = cluster.run_pod("kept", "node-a")
    more = objects.pod("more", "node-a")

    reasons = [
        refused(lambda: natlens.delete(pod.thing)),
        refused(lambda: natlens.create(more)),
        refused(lambda: natlens.patch(pod.thing, {"metadata": {"labels": {"a": "b"}}})),
    ]

    assert reasons == ["Forbidden"] * 3
    assert cluster.admin.read(pod.thing)["metadata"]["uid"] == pod.uid


def test_without_a_valid_token_nothing_is_told(cluster: Cluster) -> None:
    with closing(cluster.control.api.client("no token")) as nobody:
        assert refused(lambda: nobody.get("/api/v1/pods")) == "Unauthorized"


def test_a_pod_reaches_the_api_server_through_its_service(proxied: Cluster, tmp_path: Path) -> None:
    mounted = MountedToken(tmp_path / "serviceaccount")
    proxied.control.mount(mounted)
    token, ca = (mounted.directory / name for name in ("token", "ca.crt"))
    pod = proxied.run_pod("in-cluster", "node-b")

    with closing(Api(pod.network, SERVICE_IP, 443, ca, token.read_text())) as client:
        seen = client.get(PODS)["items"]

    assert pod.uid in {one["metadata"]["uid"] for one in seen}
    assert (mounted.directory / "namespace").read_text() == "natlens"


def test_objects_outlive_a_restart_of_both(cluster: Cluster) -> None:
    pod = cluster.run_pod("lasting", "node-a")
    cluster.control.api.stop()
    with pytest.raises(OSError, match="refused"):
        cluster.admin.get(PODS)
    cluster.control.etcd.restart()
    cluster.control.api.start()

    assert cluster.admin.read(pod.thing)["metadata"]["uid"] == pod.uid


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlPlane]:
    """One without nodes, for tests after which nothing is as it was."""
    with Network() as network, ControlPlane(binaries(), network.control, tmp_path) as running:
        yield running


def test_what_was_compacted_is_gone(control: ControlPlane) -> None:
    before = control.admin.get(PODS)["metadata"]["resourceVersion"]
    control.admin.create(objects.namespace("later"))
    query = {"watch": 1, "resourceVersion": before, "timeoutSeconds": 1}
    exactly = {"resourceVersion": before, "resourceVersionMatch": "Exact"}
    assert "410" not in control.admin.text(PODS, **query)
    assert control.admin.get(PODS, **exactly)["kind"] == "PodList"

    assert control.compact() > int(before)

    assert '"code":410' in control.admin.text(PODS, **query)
    assert refused(lambda: control.admin.get(PODS, **exactly)) == "Expired"


def test_a_restored_cluster_is_at_an_older_revision(control: ControlPlane) -> None:
    control.admin.create(objects.namespace("before"))
    snapshot, revision = control.snapshot(), control.etcd.revision()
    for number in range(50):
        control.admin.create(objects.namespace(f"after-{number}"))
    later = control.etcd.revision()

    control.restore(snapshot)

    assert revision <= control.etcd.revision() < later
    assert control.admin.read(objects.namespace("before"))
    assert refused(lambda: control.admin.read(objects.namespace("after-1"))) == "NotFound"


def test_certificate_and_authority_change_while_it_runs(control: ControlPlane, tmp_path: Path) -> None:
    stale = tmp_path / "stale.crt"
    stale.write_bytes(control.api.ca.read_bytes())

    def read() -> None:
        with closing(Api(control.host.namespace, control.host.ip, 6443, stale, control.natlens_token())) as client:
            client.get(PODS)

    before = control.api.shown()
    control.api.rotate_certificate()
    assert control.api.shown() != before
    read()
    control.api.rotate_authority()
    with pytest.raises(ssl.SSLCertVerificationError):
        read()
    stale.write_bytes(control.api.ca.read_bytes())
    read()
