"""What learning costs: the egress program on live NAT'd traffic, by the kernel's own accounting (bpf_stats)."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from natlens.config import Options
from natlens.health import Health
from natlens.kernel import libbpf
from natlens.kernel.capture import Capture
from natlens.ui.lab.nat import NftablesNat
from natlens.ui.lab.node import Node
from natlens.ui.lab.traffic import UdpServer, exchange, udp_socket
from tests.bench.figure import say, tell

__all__ = ["learned"]

STATS = Path("/proc/sys/kernel/bpf_stats_enabled")
EXCHANGES = 100_000
WARM_UP = 1_000
SERVICE = "10.96.0.10"


@contextmanager
def _accounting() -> Iterator[None]:
    before = STATS.read_text()
    STATS.write_text("1")
    try:
        yield
    finally:
        STATS.write_text(before)


def _ran(fd: int) -> tuple[int, int]:
    """Return the time (ns) that a program has run, and how often."""
    info = dict(line.split(":\t") for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines())
    return int(info["run_time_ns"]), int(info["run_cnt"])


def _beside(noop: libbpf.Object, node: Node, devices: list[str], stack: ExitStack) -> None:
    """Attach the program that does nothing to the same hooks."""
    with node.namespace.enter():
        for device in devices:
            index = socket.if_nametoindex(device)
            fd = libbpf.link_tcx(noop.program_fd("noop"), index, libbpf.BPF_TCX_EGRESS)
            stack.callback(os.close, fd)


def learned(noop: libbpf.Object) -> None:
    """Every packet leaves translated and belongs to a translation that is known."""
    tell("learning from live NAT'd traffic")
    with ExitStack() as stack:
        node = stack.enter_context(Node())
        client, server = node.pod("client"), node.pod("server")
        NftablesNat(node).service(SERVICE, "udp", 53, [(server.ip, 5353)])
        stack.callback(UdpServer(server.namespace, 5353).close)
        with node.namespace.enter():
            capture = Capture(Options(), Health())
            stack.callback(capture.close)
            capture.refresh()
        _beside(noop, node, [client.device, server.device], stack)
        fds = {"tc_learn_noop_ns": noop.program_fd("noop"), "tc_learn_known_ns": capture.program_fd("egress_l2")}
        talker = stack.enter_context(udp_socket(client.namespace, (SERVICE, 53)))
        _exchange(talker, WARM_UP)
        stack.enter_context(_accounting())
        before = {name: _ran(fd) for name, fd in fds.items()}
        _exchange(talker, EXCHANGES)
        costs = {}
        for name, fd in fds.items():
            time_ns, runs = (now - then for now, then in zip(_ran(fd), before[name], strict=True))
            costs[name] = time_ns / runs
            say(name, costs[name], "ns")
        say("tc_learn_over_noop", costs["tc_learn_known_ns"] / costs["tc_learn_noop_ns"], "x")


def _exchange(talker: socket.socket, times: int) -> None:
    for _ in range(times):
        exchange(talker, 64)
