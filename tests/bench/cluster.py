"""``python -m tests.bench.cluster``: what names cost a large cluster's API server, and natlens; one JSON line a figure.

A real control plane with 200 nodes, 20,000 pods, 2,000 Services and 4,000 EndpointSlices. Bytes are counted where the
API server's machine sends them to a node, IP headers, TLS and HTTP included: kube-proxy's and natlens' alike, from two
nodes. With ``--pods=off`` both follow the same: Services, EndpointSlices, their own Node.
"""

import multiprocessing
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from natlens.config import Options
from natlens.health import Health
from natlens.identity.cluster import Cluster as Names
from natlens.ui.lab.traffic import TcpServer, talk
from tests.agent.process import Agent, wait_until
from tests.bench.figure import say, tell
from tests.cluster.build import binaries
from tests.cluster.cluster import Cluster
from tests.cluster.crowd import HOME_EACH, TICK, Crowd, change, heartbeats, marker
from tests.cluster.pods import ClusterPod
from tests.cluster.proxy import Proxy

__all__ = [
    "Lags",
    "Memory",
    "Ratios",
    "changing",
    "crowded_cluster",
    "first_record_s",
    "main",
    "memory",
    "node_bytes",
    "ratios",
]

HOME, OTHER = "node-a", "node-b"
CROWD = Crowd(HOME)
CHANGES_PER_S = 200
SECOND = 10**9
RELIST_S = 750.0  # between two lists of Nodes, on average
SYNC_S, QUIET_S = 120.0, 2.0
HEARTBEATS = 5_000
LOST_S = 10.0
LEAST = 200_000  # bytes of a first list, at the least
TABLE = """
table inet bench {{
    chain out {{
        type filter hook output priority 0
        ip daddr {} counter
        ip daddr {} counter
    }}
}}
"""


class Memory(NamedTuple):
    """An agent that has everything."""

    sync_s: float
    most_mib: float


class Lags(NamedTuple):
    """How long after a change natlens knew it, in s: of EndpointSlices, and of the node's own pods."""

    slices: list[float]
    pods: list[float]
    seconds: float
    pods_octets: int


@contextmanager
def crowded_cluster(directory: Path) -> Iterator[Cluster]:
    """Start a control plane with the crowd; both nodes are there, only the first has pods."""
    with Cluster(binaries(), directory, nodes=[HOME, OTHER]) as cluster:
        begin = time.monotonic()
        CROWD.populate(cluster.control)
        tell(f"the crowd was made in {time.monotonic() - begin:.0f} s")
        addresses = tuple(cluster.nodes[name].ip for name in (HOME, OTHER))
        cluster.control.host.namespace.run("nft", "-f", "-", stdin=TABLE.format(*addresses))
        yield cluster


def octets(cluster: Cluster, node: str) -> int:
    """Return what the API server's machine has sent to a node so far."""
    listed = cluster.control.host.namespace.run("nft", "list", "table", "inet", "bench")
    found = re.search(rf"ip daddr {re.escape(cluster.nodes[node].ip)} counter packets \d+ bytes (\d+)", listed)
    assert found, listed
    return int(found[1])


def await_quiet(cluster: Cluster, node: str, least: int) -> int:
    """Wait until a node has had so much, and then nothing for a while; return what it has had."""
    last, since, deadline = octets(cluster, node), time.monotonic(), time.monotonic() + SYNC_S
    while last < least or time.monotonic() - since < QUIET_S:
        assert time.monotonic() < deadline, f"{node} had {last} bytes and more come"
        time.sleep(0.1)
        if (now := octets(cluster, node)) > last + 2000:
            last, since = now, time.monotonic()
    return octets(cluster, node)


def memory(cluster: Cluster, directory: Path, *arguments: str) -> Memory:
    """Start ``natlens run`` on the home node; returns when it knew everything, and the most that it took."""
    options = f"--kubeconfig={cluster.control.kubeconfig(directory / 'kubeconfig')}", f"--node-name={HOME}"
    output = directory / "records.jsonl"
    with Agent(cluster.nodes[HOME].namespace, output, *options, "--interval=1", *arguments) as agent:
        line = agent.wait_for("names are current", SYNC_S)
        status = Path(f"/proc/{agent.pid}/status").read_text()
        agent.stop()
    (kib,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    (seconds,) = re.findall(r"after ([\d.]+) s", line)
    return Memory(float(seconds), int(kib) / 1024)


@contextmanager
def names(cluster: Cluster, directory: Path, node: str = HOME, **options: Any) -> Iterator[tuple[Names, Health]]:
    """Follow the API in this process, as the agent of a node does."""
    kubeconfig = str(cluster.control.kubeconfig(directory / f"{node}.kubeconfig"))
    told = {"kubeconfig": kubeconfig, "kubernetes": "on", "node_name": node, **options}
    health = Health()
    with cluster.nodes[node].namespace.enter():  # threads inherit it
        found = Names.open(msgspec.convert(told, Options), health)
        found.start()
    try:
        yield found, health
    finally:
        found.close()


def changing(cluster: Cluster, directory: Path, seconds: float) -> Lags:
    """Let 200 pods a second change, and as many Services' EndpointSlices, and see when each change is known."""
    count, share = int(seconds * CHANGES_PER_S), CROWD.pods // CROWD.nodes
    slices, pods = [], []
    with names(cluster, directory, labels=[TICK]) as (found, health):
        assert found.wait_synced(SYNC_S)
        before, begin_ns = health.count("identity_bytes", resource="pods"), time.monotonic_ns()
        last = dict.fromkeys(range(share), begin_ns)
        with _beside(change, cluster.control.host.namespace, CROWD, count, CHANGES_PER_S):
            for number in range(count):
                changed_ns = _await(number, partial(_marked_at, found, number), begin_ns)
                slices.append((time.monotonic_ns() - changed_ns) / SECOND)
                if number % HOME_EACH == 0:
                    turn = number // HOME_EACH % share
                    last[turn] = _await(number, partial(_ticked_at, found, turn), last[turn])
                    pods.append((time.monotonic_ns() - last[turn]) / SECOND)
        spent_ns, octets_ = time.monotonic_ns() - begin_ns, health.count("identity_bytes", resource="pods") - before
    return Lags(slices, pods, spent_ns / SECOND, octets_)


def _await(number: int, changed_at: Callable[[], int], after_ns: int) -> int:
    """Wait until a change is known that was later than that; return when it was."""
    wait_until(lambda: changed_at() > after_ns, f"change {number}", LOST_S)
    return changed_at()


def _marked_at(found: Names, number: int) -> int:
    name = found.endpoint(marker(number), 0, 6, time.time_ns()).k8s_pod_name or ""
    return int(name.removeprefix("at-") or 0)


def _ticked_at(found: Names, turn: int) -> int:
    """Return when a pod of the home node changed for the last time, 0 if never."""
    address, _ = CROWD.addresses(turn * CROWD.nodes)
    ticks = dict(found.endpoint(address, 0, 6, time.time_ns()).selected)
    return int(ticks.get(f"k8s.pod.label.{TICK}", 0))


@contextmanager
def _beside(work: Callable[..., None], *arguments: object) -> Iterator[None]:
    """Let a process of its own do something meanwhile; it has to be done in the end."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    try:
        yield
        process.join(SYNC_S)
        assert process.exitcode == 0, f"{work.__name__} ended with {process.exitcode}"
    finally:
        process.kill()
        process.join()


def node_bytes(cluster: Cluster, directory: Path) -> tuple[int, int]:
    """Return the bytes of a list of all Nodes, and all bytes that come while 5,000 say that they live."""
    with names(cluster, directory) as (found, health):
        assert found.wait_synced(SYNC_S)
        before = await_quiet(cluster, HOME, 1)
        beats = _version(cluster)
        with _beside(heartbeats, cluster.control.host.namespace, CROWD, HEARTBEATS):
            pass
        assert _version(cluster) >= beats + HEARTBEATS - CROWD.nodes
        assert health.count("identity_requests", resource="nodes") == 1
        return health.count("identity_bytes", resource="nodes"), octets(cluster, HOME) - before


def _version(cluster: Cluster) -> int:
    """Return the last version of any Node."""
    nodes = cluster.admin.get("/api/v1/nodes", resourceVersion=0)["items"]
    return max(int(one["metadata"]["resourceVersion"]) for one in nodes)


class Ratios(NamedTuple):
    """Bytes of natlens over those of kube-proxy."""

    sync: float
    event: float
    natlens: tuple[int, int]
    proxy: tuple[int, int]


def ratios(cluster: Cluster, directory: Path, seconds: float = 10.0) -> Ratios:
    """Let kube-proxy follow on one node and natlens on the other: at first, and while 200 pods a second change."""
    begin = octets(cluster, HOME), octets(cluster, OTHER)
    proxy = Proxy(binaries().proxy, cluster.nodes[OTHER], cluster.control.api, directory / "proxy", "nftables")
    with proxy, names(cluster, directory, pods="off") as (found, _):
        assert found.wait_synced(SYNC_S)
        synced = await_quiet(cluster, HOME, begin[0] + LEAST), await_quiet(cluster, OTHER, begin[1] + LEAST)
        count = int(seconds * CHANGES_PER_S)
        with _beside(change, cluster.control.host.namespace, CROWD, count, CHANGES_PER_S):
            pass
        changed = await_quiet(cluster, HOME, 1), await_quiet(cluster, OTHER, 1)
    first = [after - before for before, after in zip(begin, synced, strict=True)]
    then = [after - before for before, after in zip(synced, changed, strict=True)]
    return Ratios(first[0] / first[1], then[0] / then[1], (first[0], then[0]), (first[1], then[1]))


def first_record_s(directory: Path) -> float:
    """Return how long after its start ``natlens run`` has written a record with both pods' names; small cluster."""
    with Cluster(binaries(), directory, nodes=[HOME]) as cluster, ExitStack() as stack:
        client, web = (cluster.run_pod(name, HOME) for name in ("client", "web"))
        stack.enter_context(TcpServer(web.network, 8080))
        options = f"--kubeconfig={cluster.control.kubeconfig(directory / 'kubeconfig')}", f"--node-name={HOME}"
        begin = time.monotonic()
        agent = stack.enter_context(
            Agent(cluster.nodes[HOME].namespace, directory / "first.jsonl", *options, "--interval=0.1")
        )
        wait_until(lambda: _named_call(agent, client, web), "a record with names", 20)
        return time.monotonic() - begin


def _named_call(agent: Agent, client: ClusterPod, web: ClusterPod) -> bool:
    talk(client.network, (web.ip, 8080))
    wanted = {"source.k8s.pod.name": client.name, "destination.k8s.pod.name": web.name}.items()
    return any(wanted <= one["attributes"].items() for one in agent.records())


def main() -> None:
    """Measure everything."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        tell("the first record, in a small cluster")
        say("identity_first_record_s", first_record_s(path / "small"), "s")
        tell("a cluster of 20,000 pods: that takes about a minute")
        with crowded_cluster(path / "large") as cluster:
            measure(cluster, path)


def measure(cluster: Cluster, directory: Path) -> None:
    """Print the figures of a large cluster."""
    for pods, name in (("node", "identity"), ("cluster", "identity_cluster")):
        taken = memory(cluster, directory, f"--pods={pods}")
        say(f"{name}_sync_s", taken.sync_s, "s")
        say(f"{name}_rss_mib", taken.most_mib, "MiB")
    listed, _ = node_bytes(cluster, directory)
    say("api_nodes_bytes_per_s", listed / RELIST_S, "B/s")
    found = ratios(cluster, directory)
    say("api_sync_ratio", found.sync, "x")
    say("api_event_ratio", found.event, "x")
    tell(f"{CHANGES_PER_S} changes a second for a minute")
    lags = changing(cluster, directory, 60)
    say("identity_changes_per_s", len(lags.slices) / lags.seconds, "1/s")
    say("identity_lag_ms", statistics.median(lags.slices) * 1e3, "ms")
    say("identity_lag_most_ms", max(lags.slices) * 1e3, "ms")
    say("api_pods_bytes_per_s", lags.pods_octets / lags.seconds, "B/s")


if __name__ == "__main__":
    main()
