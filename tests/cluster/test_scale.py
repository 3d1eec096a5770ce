"""20,000 pods, 2,000 Services and 4,000 EndpointSlices in the real API server: natlens is quick, small and cheap."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.cluster import CHANGES_PER_S, HEARTBEATS, changing, crowded_cluster, memory, node_bytes, ratios
from tests.cluster.cluster import Cluster

SYNC_S, RSS_MIB = 10.0, 150.0
CLUSTER_RSS_MIB = 300.0  # with all pods
BEHIND_S = 2.0  # as long as records wait for names
SECONDS = 20
HEARTBEAT_BYTES = 20  # each, of all that the API server sends to a node meanwhile


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with crowded_cluster(tmp_path_factory.mktemp("large")) as cluster:
        yield cluster


def test_a_node_is_in_step_soon_and_small(large: Cluster, tmp_path: Path) -> None:
    taken = memory(large, tmp_path)
    assert taken.sync_s <= SYNC_S
    assert taken.most_mib <= RSS_MIB


def test_all_pods_of_the_cluster_can_be_known(large: Cluster, tmp_path: Path) -> None:
    assert memory(large, tmp_path, "--pods=cluster").most_mib <= CLUSTER_RSS_MIB


def test_heartbeats_of_nodes_are_not_heard(large: Cluster, tmp_path: Path) -> None:
    _, octets = node_bytes(large, tmp_path)
    assert octets < HEARTBEATS * HEARTBEAT_BYTES


def test_changes_are_kept_up_with(large: Cluster, tmp_path: Path) -> None:
    lags = changing(large, tmp_path, SECONDS)
    assert len(lags.slices) == SECONDS * CHANGES_PER_S
    assert max(lags.slices[len(lags.slices) // 2 :]) < BEHIND_S
    assert max(lags.pods) < BEHIND_S


def test_it_asks_for_no_more_than_kube_proxy(large: Cluster, tmp_path: Path) -> None:
    found = ratios(large, tmp_path)
    assert found.sync <= 0.5
    assert found.event <= 1.25
