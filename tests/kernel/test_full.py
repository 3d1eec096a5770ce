"""Maps that are full: what is stored and what is counted as dropped is what was sent."""

import os
import socket
import time
from collections.abc import Iterator
from random import Random

import pytest

from natlens.kernel import libbpf
from natlens.kernel.windows import Window, Windows
from natlens.ui.lab.nat import NftablesNat
from natlens.ui.lab.node import Node
from tests.kernel.conftest import Load
from tests.kernel.packets import s

LINK = 14
FRAMES = s.Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02") / s.IP(src="10.0.0.0", dst="10.255.0.1")
UDP = bytes(FRAMES / s.UDP(sport=1, dport=53) / s.Raw(bytes(1400)))


def _udp(number: int, payload: int) -> bytes:
    """Return one packet of tuple ``number``."""
    source = bytes([10]) + (number & 0xFFFFFF).to_bytes(3, "big")
    length = (28 + payload).to_bytes(2, "big")
    return UDP[:16] + length + UDP[18:26] + source + UDP[30 : LINK + 28 + payload]


def _totals(window: Window) -> tuple[int, int]:
    value = window.rows["value"]
    return int(value["packets"].sum()), int(value["octets"].sum())


def test_more_tuples_than_rows(load: Load) -> None:
    capacity, tuples = 65536, 200_000
    natlens = load(rows=capacity)
    fd, windows, rng = natlens.program_fd("ingress_l2"), Windows(natlens), Random(3)
    sent_packets = sent_octets = 0
    for number in [*range(tuples), *range(0, tuples, 7)]:  # some again: known rows still count, unknown still drop
        payload = rng.randrange(1400)
        libbpf.test_run(fd, _udp(number, payload))
        sent_packets, sent_octets = sent_packets + 1, sent_octets + 28 + payload
    window = windows.take()
    packets, octets = _totals(window)
    assert len(window.rows) == capacity
    assert packets + window.counters["dropped_rows_full_packets"] == sent_packets
    assert octets + window.counters["dropped_rows_full_octets"] == sent_octets
    assert window.counters["dropped_rows_memory_packets"] == 0
    libbpf.test_run(fd, _udp(tuples, 0))
    after = windows.take()
    assert _totals(after) == (1, 28)
    assert after.counters == window.counters


def test_both_windows_take_all_they_have_room_for_again_and_again(load: Load) -> None:
    natlens = load(rows=1024)
    fd, windows = natlens.program_fd("ingress_l2"), Windows(natlens)
    dropped = 0
    for _ in range(6):
        for number in range(1500):
            libbpf.test_run(fd, _udp(number, 0))
        window = windows.take()
        assert len(window.rows) == 1024
        assert window.counters["dropped_rows_full_packets"] - dropped == 1500 - 1024
        dropped = window.counters["dropped_rows_full_packets"]


def test_more_generations_than_room_for_retired_rows(load: Load) -> None:
    room, generations = 16, 100
    natlens = load(retired=room)
    fd, windows = natlens.program_fd("ingress_l2"), Windows(natlens)
    for number in range(generations):
        frame = bytes(FRAMES / s.TCP(sport=1, dport=2, seq=number, flags="S"))
        libbpf.test_run(fd, frame)
        libbpf.test_run(fd, frame)  # a retransmission begins nothing
    window = windows.take()
    assert _totals(window) == (2 * generations, 2 * generations * 40)
    assert len(window.rows) == room + 1
    assert window.counters["dropped_retired_full"] == generations - 1 - room


def test_more_datagrams_in_fragments_than_are_remembered(load: Load) -> None:
    natlens = load()
    fd, windows = natlens.program_fd("ingress_l2"), Windows(natlens)
    whole = s.IP(src="10.1.1.1", dst="10.1.1.2") / s.UDP(sport=7, dport=8) / s.Raw(bytes(64))
    first, later = (UDP[:LINK] + bytes(fragment) for fragment in s.fragment(whole, 48))
    datagrams = 20_000

    def numbered(frame: bytes, number: int) -> bytes:
        return frame[: LINK + 4] + number.to_bytes(2, "big") + frame[LINK + 6 :]

    for number in range(datagrams):
        libbpf.test_run(fd, numbered(first, number))
    for number in reversed(range(datagrams)):
        libbpf.test_run(fd, numbered(later, number))
    window = windows.take()
    lost = window.counters["fragments_without_first"]
    rows = {row["key"]["tuple"]["sport"].item(): row["value"]["packets"].item() for row in window.rows}
    assert rows == {7: 2 * datagrams - lost, 0: lost}
    assert datagrams - 4096 <= lost < datagrams - 2048  # an LRU map evicts early, per CPU and in batches
    assert not any(value for name, value in window.counters.items() if name != "fragments_without_first")


@pytest.fixture
def node() -> Iterator[Node]:
    with Node() as one:
        yield one


def test_more_translations_than_room(load: Load, node: Node) -> None:
    room, connections = 64, 300
    client, server = node.pod("client"), node.pod("server")
    NftablesNat(node).service("10.96.0.1", "udp", 9, [(server.ip, 9)])
    natlens = load(translations=room)
    windows = Windows(natlens)
    with node.namespace.enter():
        link = libbpf.link_tcx(
            natlens.program_fd("egress_l2"), socket.if_nametoindex(server.device), libbpf.BPF_TCX_EGRESS
        )
    with client.namespace.enter():
        senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(connections)]
    senders[0].sendto(b"x", (server.ip, 9))
    time.sleep(0.2)  # neighbours are known now: the burst does not overflow the queue of what waits for them
    windows.take()
    for sender in senders:
        sender.sendto(b"x", ("10.96.0.1", 9))
    for sender in senders:  # not before: a port that is free again may be another's
        sender.close()
    until = time.monotonic() + 5
    while windows.counters()["dropped_translations_full"] < connections - room and time.monotonic() < until:
        time.sleep(0.01)
    window = windows.take()
    os.close(link)
    assert len(window.translations) == room
    assert window.counters["dropped_translations_full"] == connections - room
