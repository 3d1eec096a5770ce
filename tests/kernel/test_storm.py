"""Interfaces that come and go by the thousand, change their name, their namespace or hand their number on."""

import os
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natlens.config import Options
from natlens.health import Health
from natlens.kernel.capture import Capture
from natlens.kernel.coverage import Link
from natlens.kernel.crowd import MOST
from natlens.kernel.rtnetlink import DELLINK, HEADER, LINK, NEWLINK, gone_links, messages
from natlens.ui.lab.namespaces import Namespace
from tests.agent.kernel import attached, devices

PAIRS = 1000
GROUP = 200  # that come at once
APPEARS_S = 1.0
LEAK_MIB = 8.0
RTMGRP_LINK, SO_RCVBUFFORCE = 1, 33

both = pytest.mark.parametrize("attach", ["tcx", "clsact"])


@pytest.fixture
def namespaces() -> Iterator[tuple[Namespace, Namespace]]:
    """A node, and where its pods' ends are."""
    with ExitStack() as stack:
        made = [Namespace(f"nls{os.getpid()}-{end}") for end in (0, 1)]
        for one in made:
            stack.callback(one.remove)
        yield made[0], made[1]


class Appearances:
    """Hears, beside the capture, when each device appeared."""

    def __init__(self, namespace: Namespace) -> None:
        with namespace.enter():
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self._socket.bind((0, RTMGRP_LINK))
        self.at: dict[int, float] = {}
        self._stop = False
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop:
            if select.select([self._socket], [], [], 0.05)[0]:
                now = time.monotonic()
                for message in messages(self._socket.recv(1 << 18)):
                    if isinstance(message.what, Link) and message.there:
                        self.at.setdefault(message.what.index, now)

    def close(self) -> None:
        self._stop = True
        self._thread.join()
        self._socket.close()


class Node:
    """A capture in a namespace, refreshed as the agent does."""

    def __init__(self, namespace: Namespace, attach: str) -> None:
        self.namespace, self.health = namespace, Health()
        with namespace.enter():
            self.capture = Capture(Options(attach=attach), self.health)  # type: ignore[arg-type]
            self.capture.refresh()

    def refresh(self) -> None:
        with self.namespace.enter():
            self.capture.refresh()

    @property
    def covered(self) -> int:
        return int(self.health.gauge("interfaces_covered") or 0)

    def follow(self, number: int) -> float:
        """Refresh whenever it rings until ``number`` interfaces are covered; returns when that was."""
        deadline = time.monotonic() + 60
        while self.covered != number or self.capture.behind:
            assert time.monotonic() < deadline, f"{self.covered} of {number} are covered"
            if self.capture.behind or select.select([self.capture.bell], [], [], 1.0)[0]:
                self.refresh()
        return time.monotonic()

    def close(self) -> None:
        with self.namespace.enter():
            self.capture.close()


def pairs(namespaces: tuple[Namespace, Namespace], numbers: range) -> str:
    lines = (f"link add s{number} type veth peer name s{number} netns {namespaces[1].name}" for number in numbers)
    return "\n".join(lines)


def create(namespaces: tuple[Namespace, Namespace], numbers: range) -> threading.Thread:
    thread = threading.Thread(target=namespaces[0].ip, args=(pairs(namespaces, numbers),))
    thread.start()
    return thread


def delete(namespaces: tuple[Namespace, Namespace], numbers: range) -> None:
    namespaces[0].ip("\n".join(f"link del s{number}" for number in numbers))


def rss_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@both
def test_a_thousand_pairs_that_come_and_go(namespaces: tuple[Namespace, Namespace], attach: str) -> None:
    """By tcx they go before all of them have a link (make bench: 1,000 at once)."""
    late = []
    with closing(Node(namespaces[0], attach)) as node, closing(Appearances(namespaces[0])) as appearances:
        before = None
        for begin in range(0, PAIRS, GROUP):
            numbers = range(begin, begin + GROUP)
            creating = create(namespaces, numbers)
            seen: set[int] = set(node.capture.names)
            attached_at: dict[int, float] = {}
            while node.covered < len(numbers) + 1:
                if node.capture.behind or select.select([node.capture.bell], [], [], 10.0)[0]:
                    node.refresh()
                now = time.monotonic()
                attached_at.update({index: now for index in node.capture.covered() if index not in attached_at})
            creating.join()
            late += [at - appearances.at[index] for index, at in attached_at.items() if index not in seen]
            delete(namespaces, numbers)
            node.follow(1)
            if before is None:
                before = open_files(), rss_mib()
        assert len(late) == PAIRS
        assert max(late) <= APPEARS_S
        assert before is not None
        assert open_files() == before[0]
        assert rss_mib() - before[1] < LEAK_MIB
        assert len(attached(namespaces[0])) == 1


@both
def test_interface_that_is_renamed(namespaces: tuple[Namespace, Namespace], attach: str) -> None:
    with closing(Node(namespaces[0], attach)) as node:
        namespaces[0].ip(pairs(namespaces, range(1)))
        node.follow(2)
        index = devices(namespaces[0])["s0"]
        before = attached(namespaces[0])
        namespaces[0].ip("link set s0 name other0")
        node.refresh()
        assert node.capture.names[index] == "other0"
        assert attached(namespaces[0]) == {place.replace("s0 ", "other0 "): what for place, what in before.items()}


@both
def test_interface_that_moves_away_and_comes_back(namespaces: tuple[Namespace, Namespace], attach: str) -> None:
    with closing(Node(namespaces[0], attach)) as node:
        namespaces[0].ip(pairs(namespaces, range(1)))
        node.follow(2)
        before = attached(namespaces[0]).keys()
        namespaces[1].ip("link set s0 name far0")
        namespaces[0].ip(f"link set s0 netns {namespaces[1].name}")
        node.follow(1)
        assert attached(namespaces[1]) == {}
        namespaces[1].ip(f"link set s0 netns {namespaces[0].name}")
        node.follow(2)
        assert attached(namespaces[0]).keys() == before


@both
def test_number_that_is_used_again(namespaces: tuple[Namespace, Namespace], attach: str) -> None:
    """Nobody looks in between: the new interface has its number, its name and its kind."""
    with closing(Node(namespaces[0], attach)) as node:
        namespaces[0].ip("link add s0 index 4711 type veth peer name s1")
        node.follow(3)
        before = attached(namespaces[0]).keys()
        assert "s0 egress" in before
        namespaces[0].ip("link del s0\nlink add s0 index 4711 type veth peer name s1")
        assert "s0 egress" not in attached(namespaces[0])
        node.refresh()
        assert attached(namespaces[0]).keys() == before


@both
def test_more_changes_than_the_socket_holds(namespaces: tuple[Namespace, Namespace], attach: str) -> None:
    with closing(Node(namespaces[0], attach)) as node:
        with socket.socket(fileno=os.dup(node.capture.bell.fileno())) as bell:
            bell.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        namespaces[0].ip("link add s0 index 4711 type veth peer name s1")
        node.follow(3)
        before = attached(namespaces[0]).keys()
        namespaces[0].ip(pairs(namespaces, range(10, 60)))
        delete(namespaces, range(10, 60))
        namespaces[0].ip("link del s0\nlink add s0 index 4711 type veth peer name s1")
        node.refresh()
        assert node.health.count("interfaces_resynced") > 0
        assert attached(namespaces[0]).keys() == before


def ways(namespace: Namespace) -> set[tuple[str, ...]]:
    """Return what stands on a side of an interface, as `tcx` and `tc`."""
    return {tuple(one.split()[0] for one in what) for what in attached(namespace).values()}


def test_crowd_is_attached_to_at_once_and_then_moves(namespaces: tuple[Namespace, Namespace]) -> None:
    """The pipeline goes on in between; what waits for its turn is asked for by `behind`, not by the bell."""
    with closing(Node(namespaces[0], "tcx")) as node:
        namespaces[0].ip(pairs(namespaces, range(70)))
        node.refresh()
        assert node.covered == 71
        assert ways(namespaces[0]) == {("tc",), ("tcx",)}
        rounds = 0
        while node.capture.behind:
            node.refresh()
            rounds += 1
        assert rounds >= 70 * 2 / MOST
        assert len(attached(namespaces[0])) == 2 * 70 + 1
        assert ways(namespaces[0]) == {("tcx",)}
        programs = {node.capture.program_fd(name) for name in ("ingress_l2", "egress_l2")}
        assert linked(namespaces[0]) == {info(fd) for fd in programs}


def test_crowd_that_waits_leaves_nothing(namespaces: tuple[Namespace, Namespace]) -> None:
    with closing(Node(namespaces[0], "tcx")) as node:
        namespaces[0].ip(pairs(namespaces, range(70)))
        node.refresh()
        namespaces[0].ip("link del s0")
        node.refresh()
        assert node.covered == 70
    assert attached(namespaces[0]) == {}


def linked(namespace: Namespace) -> set[str]:
    return {one for what in attached(namespace).values() for one in what}


def info(fd: int) -> str:
    (number,) = re.findall(r"^prog_id:\s*(\d+)$", Path(f"/proc/self/fdinfo/{fd}").read_text(), re.MULTILINE)
    return f"tcx {number}"


@given(data=st.binary(max_size=300))
def test_any_octets_may_come_from_the_bell(data: bytes) -> None:
    assert len(list(gone_links(data))) <= len(data) // HEADER.size


@given(told=st.lists(st.tuples(st.sampled_from([NEWLINK, DELLINK]), st.sampled_from([0, 7]), st.integers(1, 1 << 30))))
def test_bell_tells_of_devices_that_went(told: list[tuple[int, int, int]]) -> None:
    """AF_BRIDGE (7) says that a device is no port of a bridge any more."""
    data = b"".join(
        HEADER.pack(HEADER.size + LINK.size, kind, 0, 0, 0) + LINK.pack(family, 1, index, 0, 0)
        for kind, family, index in told
    )
    assert list(gone_links(data)) == [index for kind, family, index in told if kind == DELLINK and family == 0]
