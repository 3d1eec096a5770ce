"""conntrack's events: what begins and ends is told once, in order; what was lost is known."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natlens.errors import KernelError, MissingFeature
from natlens.kernel import ctevents, ctnetlink
from natlens.kernel.ctevents import EVENT, Events
from natlens.kernel.structs import TUPLE
from natlens.ui.lab.nat import NftablesNat
from natlens.ui.lab.node import Node, Pod
from natlens.ui.lab.traffic import TcpServer, UdpServer, exchange, talk, udp_socket

SERVICE, SERVICE6 = "10.96.0.10", "fd00:96::10"


class Place(NamedTuple):
    """A node with two pods."""

    made: Node
    client: Pod
    server: Pod


@pytest.fixture(scope="module")
def node() -> Iterator[Place]:
    with Node() as made:
        client, server = made.pod("client"), made.pod("server")
        nat = NftablesNat(made)
        nat.service(SERVICE, "tcp", 80, [(server.ip, 8080)])
        nat.service(SERVICE6, "udp", 53, [(server.ip6, 5353)])
        yield Place(made, client, server)


def subscribe(node: Place, *, translated: bool = True, queue: int = ctevents.QUEUE) -> Events:
    node.made.namespace.run("conntrack", "-F")
    with node.made.namespace.enter():
        return Events(translated=translated, queue=queue)


def wait(events: Events, enough: Callable[[np.ndarray], bool], seconds: float = 5.0) -> np.ndarray:
    """Return what is told until it is enough."""
    found, until = np.zeros(0, EVENT), time.monotonic() + seconds
    while not enough(found):
        assert time.monotonic() < until, found
        time.sleep(0.01)
        found = np.concatenate([found, events.take().events])
    return found


def ports(found: np.ndarray) -> list[tuple[int, int, bool]]:
    return [
        (int(one["key"]["original"]["dport"]), int(one["key"]["reply"]["sport"]), bool(one["ends"])) for one in found
    ]


def test_a_connection_is_told_of_when_it_begins_and_when_it_ends(node: Place) -> None:
    events = subscribe(node)
    client, server = node.client, node.server
    before = time.monotonic_ns()
    try:
        with TcpServer(server.namespace, 8080), UdpServer(server.namespace, 5353):
            talk(client.namespace, (SERVICE, 80))
            with udp_socket(client.namespace, (SERVICE6, 53)) as talker:
                exchange(talker, 20)
            talk(client.namespace, (server.ip, 8080))
        node.made.namespace.run("conntrack", "-D", "-p", "tcp", "--dport", "80")
        found = wait(events, lambda found: (80, 8080, True) in ports(found))
    finally:
        events.close()
    assert ports(found) == [(80, 8080, False), (53, 5353, False), (8080, 8080, False), (80, 8080, True)]
    assert found["key"][0] == found["key"][3]
    assert (np.diff(found["at_ns"].astype(np.int64)) > 0).all()
    assert before < found["at_ns"][0] < time.monotonic_ns()


def test_beside_a_hook_only_connections_without_nat_are_told_of(node: Place) -> None:
    events = subscribe(node, translated=False)
    client, server = node.client, node.server
    try:
        with TcpServer(server.namespace, 8080):
            talk(client.namespace, (SERVICE, 80))
            talk(client.namespace, (server.ip, 8080))
        node.made.namespace.run("conntrack", "-F")
        found = wait(events, lambda found: len(found) > 0)
    finally:
        events.close()
    assert ports(found) == [(8080, 8080, False)]


def test_what_is_told_again_comes_first_and_once(node: Place) -> None:
    events = subscribe(node)
    try:
        again = np.zeros(1, EVENT)
        again["at_ns"] = 7
        events.tell_again(again)
        assert events.take().events["at_ns"].tolist() == [7]
        assert len(events.take().events) == 0
    finally:
        events.close()


def test_lost_events_are_known(node: Place) -> None:
    events = subscribe(node, queue=1)  # the kernel makes 2 KiB of it: two or three events
    client, server = node.client, node.server
    try:
        with UdpServer(server.namespace, 5353, answers=False):
            overruns, until = 0, time.monotonic() + 10
            while not overruns and time.monotonic() < until:
                for _ in range(200):
                    with udp_socket(client.namespace, (server.ip6, 5353)) as talker:
                        talker.send(b"x")
                node.made.namespace.run("conntrack", "-F")  # hundreds of ends at once
                overruns = events.take().overruns
    finally:
        events.close()
    assert overruns > 0


def test_events_that_are_switched_off_are_an_error_that_names_the_switch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch = tmp_path / "nf_conntrack_events"
    monkeypatch.setattr(ctevents, "SWITCH", switch)
    with pytest.raises(MissingFeature, match="CONFIG_NF_CONNTRACK_EVENTS"):
        Events(translated=True)
    switch.write_text("0\n")
    with pytest.raises(KernelError, match=r"net\.netfilter\.nf_conntrack_events=2"):
        Events(translated=True)


address4, port = st.binary(min_size=4, max_size=4), st.integers(0, 65535)


@given(address4, address4, port, port, st.sampled_from([6, 17, 132]), st.none() | st.integers(0, 65535), st.binary())
def test_the_quick_way_reads_what_the_thorough_one_reads(
    source: bytes, destination: bytes, sport: int, dport: int, protocol: int, zone: int | None, rest: bytes
) -> None:
    question = ctnetlink.get_request(socket.AF_INET, source, destination, (sport, dport), protocol)
    ((_, original),) = ctnetlink.messages(question)
    reply = original[4:].replace(original[4:8], original[4:6] + b"\2\x80", 1)
    told = b"" if zone is None else b"\6\0\x12\0" + zone.to_bytes(2, "big") + b"\0\0"
    body = original + reply + told
    assert ctnetlink._plain_key(body) == ctnetlink._odd_key(body) is not None
    assert ctnetlink.key(body) == ctnetlink._odd_key(body)
    assert len(ctnetlink.key(body + rest) or b"") == ctnetlink.KEY_BYTES


@given(address4, address4, port, port, st.sampled_from([1, 6, 17, 58]))
def test_translated_is_what_is_not_the_inverse(
    source: bytes, destination: bytes, sport: int, dport: int, protocol: int
) -> None:
    original, reply = np.zeros(1, TUPLE), np.zeros(1, TUPLE)
    for one, ends in ((original, (source, destination)), (reply, (destination, source))):
        one["src"], one["dst"] = (np.frombuffer(ctnetlink.V4_MAPPED + end, np.uint8) for end in ends)
        one["proto"], one["family"] = protocol, 4
    original["sport"], original["dport"] = sport, dport
    reply["sport"], reply["dport"] = (sport, dport) if protocol in (1, 58) else (dport, sport)
    assert not ctnetlink.is_translated(original.tobytes() + reply.tobytes() + bytes(4))
    reply["sport"] ^= 1
    assert ctnetlink.is_translated(original.tobytes() + reply.tobytes() + bytes(4))
