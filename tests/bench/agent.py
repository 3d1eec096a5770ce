"""What the whole agent costs: memory when idle, and throughput of the traffic beside it."""

import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from natlens.ui.lab.nat import NftablesNat
from natlens.ui.lab.node import Node
from natlens.ui.lab.traffic import dial
from tests.bench.crowd import CONNECTIONS, Crowd
from tests.bench.figure import say, tell
from tests.collector.build import binary
from tests.collector.process import Collector
from tests.delivery.server import Receiver

__all__ = ["crowded", "idle", "throughput"]

IDLE_S, ROUND_S, ROUNDS = 12.0, 1.5, 9
SERVICE = "10.96.0.10"
CROWDED_S, CROWDED_WINDOWS = 10.0, 4
CHUNK = bytes(1 << 20)


class _Agent(NamedTuple):
    pid: int
    said: list[str]  # whole when it has ended


@contextmanager
def _agent(node: Node, *arguments: str) -> Iterator[_Agent]:
    command = ["nsenter", f"--net={node.namespace.path}", sys.executable, "-m", "natlens", "run", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    said: list[str] = []
    agent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert agent.stderr
        while "capturing on" not in (line := agent.stderr.readline()):
            if not line:
                raise RuntimeError("the agent did not start")
        reader = threading.Thread(target=said.extend, args=(agent.stderr,), daemon=True)
        reader.start()
        yield _Agent(agent.pid, said)
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.wait(30)
    reader.join()


def _rss_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def idle() -> None:
    """Memory of `natlens run` on an idle node, sending to a Collector and printing."""
    tell(f"memory when idle ({2 * IDLE_S:.0f} s)")
    with Node() as node:
        with node.namespace.enter():
            collector = Receiver()
        with collector, _agent(node, f"--endpoint={collector.url}", "--interval=1") as agent:
            time.sleep(IDLE_S)
            say("rss_idle_mib", _rss_mib(agent.pid), "MiB")
        with _agent(node, "--interval=1") as agent:
            time.sleep(IDLE_S)
            say("rss_idle_printing_mib", _rss_mib(agent.pid), "MiB")


def crowded() -> None:
    """Memory of `natlens run` with 100,000 connections a window, sending them to a real Collector; the most it took."""
    tell(f"memory with {CONNECTIONS:,} connections a window ({CROWDED_WINDOWS * CROWDED_S:.0f} s)")
    with ExitStack() as stack:
        node = stack.enter_context(Node())
        crowd = stack.enter_context(closing(Crowd(node)))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        there = Collector(binary(), directory, netns=node.namespace.name, writes="nothing")
        collector = stack.enter_context(there)
        sizes = "--window-rows=262144", "--window-translations=262144"
        options = f"--endpoint={collector.url}", f"--interval={CROWDED_S}", *sizes
        agent = stack.enter_context(_agent(node, *options))
        most, end = 0.0, time.monotonic() + CROWDED_WINDOWS * CROWDED_S
        talking = threading.Thread(target=_talk_until, args=(crowd, end))
        talking.start()
        while time.monotonic() < end:
            most = max(most, _rss_mib(agent.pid))
            time.sleep(0.02)
        talking.join()
    if "dropped" in agent.said[-1] or "rejected" in agent.said[-1]:
        raise RuntimeError(agent.said[-1])
    say("rss_100k_mib", most, "MiB")


def _talk_until(crowd: Crowd, end: float) -> None:
    while time.monotonic() < end:
        crowd.talk()
        time.sleep(2.0)


class _Sink:
    """Reads and forgets."""

    def __init__(self, node: Node, namespace_of: str) -> None:
        with node.pod(namespace_of).namespace.enter():
            self.socket = socket.create_server(("", 8080))
        self.received = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        buffer = bytearray(1 << 20)
        client, _ = self.socket.accept()
        with client:
            while count := client.recv_into(buffer):
                self.received += count


def _rate(sink: _Sink, seconds: float) -> float:
    begin, before = time.perf_counter(), sink.received
    time.sleep(seconds)
    return (sink.received - before) / (time.perf_counter() - begin)


def _push(sender: socket.socket, stop: threading.Event) -> None:
    while not stop.is_set():
        sender.sendall(CHUNK)


def throughput() -> None:
    """TCP through a Service over veths, natlens on and off in turn; the median of the pairs' ratios."""
    tell(f"throughput, on and off in turn ({2 * ROUNDS * ROUND_S + ROUNDS:.0f} s)")
    with Node(offloads=True) as node:
        client, sink = node.pod("client"), _Sink(node, "server")
        NftablesNat(node).service(SERVICE, "tcp", 80, [("10.244.2.2", 8080)])
        sender, stop = dial(client.namespace, (SERVICE, 80)), threading.Event()
        pusher = threading.Thread(target=_push, args=(sender, stop), daemon=True)
        pusher.start()
        _rate(sink, ROUND_S)
        ratios, rates = [], []
        for _ in range(ROUNDS):
            off = _rate(sink, ROUND_S)
            with _agent(node):
                ratios.append(_rate(sink, ROUND_S) / off)
            rates.append(off)
        stop.set()
        pusher.join(5)
        sender.close()
    say("veth_throughput_off_gbit_s", statistics.median(rates) * 8 / 1e9, "Gbit/s")
    say("veth_throughput_ratio", statistics.median(ratios), "x")
