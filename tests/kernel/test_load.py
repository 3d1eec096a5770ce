"""Exact under load: over more than fifty windows not one packet, not one octet is lost or counted twice."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from natlens.flows.join import Carry, join
from natlens.flows.report import Limits
from natlens.kernel import libbpf
from natlens.kernel.structs import Side
from natlens.kernel.windows import Window, Windows
from natlens.ui.lab.namespaces import Namespace
from tests.kernel.conftest import Load
from tests.kernel.packets import s

SOURCE = Path(__file__).with_name("blast.c")
WINDOWS = 52
PAUSE_S = 0.05
SECOND = 1_000_000_000
ETHERNET = 14
Count = tuple[int, int]  # packets, octets


@pytest.fixture(scope="module")
def blast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sender, compiled."""
    path = tmp_path_factory.mktemp("blast") / "blast"
    subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-o", path, SOURCE], check=True)
    return path


def _start(blast: Path, end: Namespace) -> subprocess.Popen[str]:
    command = "nsenter", f"--net={end.path}", str(blast), "10.9.0.1", "400", "64"
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _stop(sender: subprocess.Popen[str]) -> Count:
    """Stop a sender; returns what it says it sent."""
    sender.send_signal(signal.SIGTERM)
    packets, octets = sender.communicate(timeout=10)[0].split()
    return int(packets), int(octets)


class Wire:
    """Two namespaces and a veth between them; each routes the other's 10.9.0.0/16 into the void: nothing answers."""

    def __init__(self) -> None:
        self.ends = [Namespace(f"nlw{os.getpid()}-{end}") for end in (0, 1)]
        self.ends[0].ip(f"link add wire type veth peer name wire netns {self.ends[1].name}")
        self.indices = []
        for number, end in enumerate(self.ends):
            end.sysctl(ipv6__conf__all__disable_ipv6=1)
            end.ip(f"""
                link set wire address 02:00:00:00:00:0{number} arp off
                addr add 10.8.{number}.1/32 dev wire
                link set wire up
                route add 10.9.0.0/16 dev wire
                neigh add 10.9.0.1 lladdr 02:00:00:00:00:0{1 - number} dev wire
            """)
            with end.enter():
                self.indices.append(socket.if_nametoindex("wire"))

    def sent(self, end: int) -> Count:
        """Return what an end's interface counters say it sent (and the other end took): packets, IP octets."""
        said = json.loads(self.ends[end].run("ip", "-s", "-j", "link", "show", "wire"))[0]["stats64"]["tx"]
        return said["packets"], said["bytes"] - ETHERNET * said["packets"]

    def attach(self, natlens: libbpf.Object) -> list[int]:
        """Cover both ends, both sides."""
        links = []
        for end, index in zip(self.ends, self.indices, strict=True):
            with end.enter():
                links.append(libbpf.link_tcx(natlens.program_fd("ingress_l2"), index, libbpf.BPF_TCX_INGRESS))
                links.append(libbpf.link_tcx(natlens.program_fd("egress_l2"), index, libbpf.BPF_TCX_EGRESS))
        return links


@pytest.fixture
def wire() -> Iterator[Wire]:
    one = Wire()
    yield one
    for end in one.ends:
        end.remove()


def _sum(windows: list[Window], source: str, side: Side) -> Count:
    """Return what was counted of one sender's packets on one side."""
    packets = octets = 0
    for window in windows:
        key = window.rows["key"]
        chosen = (key["tuple"]["src"][:, 12:] == np.frombuffer(socket.inet_aton(source), np.uint8)).all(axis=1)
        value = window.rows["value"][chosen & (key["side"] == side)]
        packets, octets = packets + int(value["packets"].sum()), octets + int(value["octets"].sum())
    return packets, octets


def test_many_flows_at_full_speed(load: Load, wire: Wire, blast: Path) -> None:
    natlens = load(rows=131072)
    windows = Windows(natlens)
    before = [wire.sent(end) for end in (0, 1)]
    links = wire.attach(natlens)
    taken: list[Window] = []
    with _start(blast, wire.ends[0]) as one, _start(blast, wire.ends[1]) as other:
        while sum(len(window.rows) > 0 for window in taken) <= WINDOWS:
            time.sleep(PAUSE_S)
            taken.append(windows.take())
        said = [_stop(one), _stop(other)]
    time.sleep(0.1)  # what a backlog still holds
    taken.append(windows.take())
    for link in links:
        os.close(link)
    assert not any(taken[-1].counters.values())
    arrived = (0, 0)
    for end in (0, 1):
        assert said[end][0] > 100_000
        assert _sum(taken, f"10.8.{end}.1", Side.EGRESS) == said[end]
        after = wire.sent(end)
        wired = after[0] - before[end][0], after[1] - before[end][1]
        assert _sum(taken, f"10.8.{end}.1", Side.INGRESS) == wired
        arrived = arrived[0] + wired[0], arrived[1] + wired[1]
    assert _recorded(taken, Side.INGRESS) == arrived


def _recorded(windows: list[Window], side: Side) -> Count:
    """Return what the records of all windows say of one side."""
    limits = Limits(idle_ns=SECOND, tcp_idle_ns=SECOND, settle_ns=SECOND // 4, max_connections=1_000_000)
    carry, packets, octets = Carry(), 0, 0
    for window in windows:
        rows = window.rows[window.rows["key"]["side"] == side]
        joined = join(replace(window, rows=rows), carry, limits, flush=window is windows[-1])
        carry = joined.carry
        for direction in ("forward", "reverse"):
            packets += int(joined.connections[f"{direction}_packets"].sum())
            octets += int(joined.connections[f"{direction}_octets"].sum())
    return packets, octets


def test_one_row_from_two_processors(load: Load) -> None:
    natlens = load()
    windows, fd, burst = Windows(natlens), natlens.program_fd("ingress_l2"), 100_000
    frame = bytes(s.Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02") / s.IP() / s.UDP() / s.Raw(b"x"))
    enough, runs, taken = threading.Event(), [0, 0], [windows.take()]

    def hammer(which: int) -> None:
        while not enough.is_set():
            libbpf.test_run(fd, frame, burst)
            runs[which] += burst

    threads = [threading.Thread(target=hammer, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    while sum(len(window.rows) > 0 for window in taken) <= 10:  # how long that takes is the machine's affair
        taken.append(windows.take())
    enough.set()
    for thread in threads:
        thread.join()
    taken.append(windows.take())
    assert min(runs) > 0
    assert not any(taken[-1].counters.values())
    assert _sum(taken, "127.0.0.1", Side.INGRESS) == (sum(runs), sum(runs) * 29)
