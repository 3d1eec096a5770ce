"""The cluster that this folder's tests share, once for each mode of kube-proxy."""

from collections.abc import Iterator

import pytest

from tests.cluster.build import BuildError, binaries
from tests.cluster.cluster import Cluster
from tests.cluster.proxy import Mode


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test: its minutes are no test's, and its progress is to be seen."""
    if not session.config.option.collectonly:
        try:
            binaries()
        except BuildError as error:
            raise pytest.UsageError(str(error)) from error


@pytest.fixture(scope="session")
def running_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes, node-a in zone-1 and node-b in zone-2; for a module that keeps pods over several tests."""
    with Cluster(binaries(), tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def cluster(running_cluster: Cluster) -> Iterator[Cluster]:
    """The same, without the test's pods and Services when it is over."""
    yield running_cluster
    running_cluster.clear()


@pytest.fixture(scope="module", params=["iptables", "nftables"])
def proxy_mode(running_cluster: Cluster, request: pytest.FixtureRequest) -> Mode:
    """Each mode of kube-proxy in turn, on every node."""
    mode: Mode = request.param
    running_cluster.proxy(mode)
    return mode


@pytest.fixture
def proxied(proxy_mode: Mode, cluster: Cluster) -> Cluster:  # noqa: ARG001  # it is there, that is enough
    """The cluster with kube-proxy, of each mode in turn."""
    return cluster
