"""What flow metrics cost: connections to points to bytes, and the memory of an agent that has all it may have."""

import statistics
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from natlens.config import Options
from natlens.otlp.batch import Batch
from natlens.otlp.metrics.encode import MetricsEncoder
from natlens.otlp.metrics.series import Metrics, streams
from natlens.otlp.metrics.settings import metric_settings
from natlens.ui.lab.node import Node
from tests.bench.agent import CROWDED_S, CROWDED_WINDOWS, _agent, _rss_mib, _talk_until
from tests.bench.crowd import BACKEND, DIRECT, DNS, FIRST_PORT, SERVICE, Crowd, _packet
from tests.bench.figure import median_s, say, tell
from tests.bench.shapes import NOW, RESOURCE, Cluster, batch
from tests.bench.windows import half_and_half
from tests.collector.build import binary
from tests.collector.process import Collector

__all__ = ["aggregated", "crowded"]

SECOND = 10**9
CONNECTIONS = 20_000  # a window
CLIENTS = 4000  # addresses, each of two series: more than may be
LIVE = Options().series_limit // streams() * streams()
CLIENTS_NETWORK = "10.245.0.0/16"


def aggregated() -> None:
    """Windows of 100,000 connections, half plain and half full, each with one collection; more series than may be."""
    tell("aggregating metrics")
    cluster = Cluster()
    metrics, encoder = Metrics(metric_settings(Options(), {}), NOW), MetricsEncoder(RESOURCE)
    many = batch(cluster, half_and_half(cluster))
    work = partial(_window, metrics, encoder, many)
    work()  # the one in which all series are born
    say("metrics_input_records_per_s", len(many) / median_s(work), "1/s")
    say("metrics_series_live", metrics.live * streams(), "points")


def _window(metrics: Metrics, encoder: MetricsEncoder, many: Batch) -> None:
    metrics.add(many)
    if collection := metrics.collect(0):  # a millisecond after the last one
        for _ in encoder.requests(collection):
            pass


class _ManyClients(Crowd):
    """The crowd, but the client's packets come from many addresses."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        node.namespace.run("ip", "route", "add", CLIENTS_NETWORK, "via", self._client.ip)
        clients = [f"10.245.{at >> 8}.{at & 255}" for at in range(1, CLIENTS + 1)]
        ports, server = range(FIRST_PORT, FIRST_PORT + CONNECTIONS // 2), self._server.ip
        each = [(clients[port % CLIENTS], port) for port in ports]
        self._requests = [_packet(*one, *to) for one in each for to in ((SERVICE, DNS), (server, DIRECT))]
        self._answers = [_packet(server, of, *one) for one in each for of in (BACKEND, DIRECT)]


def crowded() -> None:
    """Memory of `natlens run` with 20,000 points and 100,000 connections a window: the most, and what is usual."""
    tell(f"memory with 20,000 points, {CONNECTIONS:,} connections a window ({CROWDED_WINDOWS * CROWDED_S:.0f} s)")
    with ExitStack() as stack:
        node = stack.enter_context(Node())
        crowd = stack.enter_context(closing(_ManyClients(node)))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        there = Collector(binary(), directory, netns=node.namespace.name, writes="nothing")
        collector = stack.enter_context(there)
        told = "--signals=metrics", "--metrics-attributes=source.address,destination.port", "--metrics-interval=5"
        options = f"--endpoint={collector.url}", f"--interval={CROWDED_S}", *told
        agent = stack.enter_context(_agent(node, *options))
        end = time.monotonic() + CROWDED_WINDOWS * CROWDED_S
        talking = threading.Thread(target=_talk_until, args=(crowd, end))
        talking.start()
        sizes_mib = []
        while time.monotonic() < end:
            sizes_mib.append(_rss_mib(agent.pid))
            time.sleep(0.02)
        talking.join()
    if "rejected" in agent.said[-1] or f"series_points={LIVE}" not in agent.said[-1]:
        raise RuntimeError(agent.said[-1])
    say("rss_20k_series_mib", max(sizes_mib), "MiB")
    say("rss_20k_series_median_mib", statistics.median(sizes_mib[len(sizes_mib) // 2 :]), "MiB")
