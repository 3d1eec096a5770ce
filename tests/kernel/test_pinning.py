"""Pins: what is found again, what is not believed, and octets that a kill cannot halve."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natlens.errors import ConfigError, KernelError
from natlens.flows.connection import CONNECTION
from natlens.flows.join import Carry
from natlens.flows.live import LIVE, Live
from natlens.handover import State, pack, unpack
from natlens.identity.waiting import Interval
from natlens.kernel import bpf, bpffs, libbpf
from natlens.kernel.attach import TcxAttachment
from natlens.kernel.pinning import LAYOUT, Pins, claim
from natlens.kernel.windows import ROWS, Windows
from natlens.ui.lab.namespaces import Namespace
from tests.agent.bpffs import mounted_bpffs
from tests.agent.kernel import program
from tests.kernel.conftest import Load
from tests.kernel.packets import s

NUMBER = 4711


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with mounted_bpffs(tmp_path_factory.mktemp("bpf")) as path:
        yield path


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    made = Namespace(f"nlp{os.getpid()}")
    try:
        with made.enter():
            yield made
    finally:
        made.remove()


@given(parts=st.lists(st.binary(max_size=9000), max_size=4))
def test_octets_come_back_as_they_were(root: Path, parts: list[bytes]) -> None:
    bpffs.put_octets(parts, root / "octets")
    assert bpffs.read_octets(root / "octets") == b"".join(parts)
    assert not (root / "octets_new").exists()


def test_octets_that_are_not_there(root: Path) -> None:
    assert bpffs.read_octets(root / "nothing") is None


def test_octets_stand_whole_where_a_kill_left_a_half(root: Path) -> None:
    bpffs.put_octets([b"old"], root / "state")
    bpffs.put_octets([b"half"], root / "other")
    (root / "other").rename(root / "state_new")  # killed before its name was given
    assert bpffs.read_octets(root / "state") == b"old"
    bpffs.put_octets([b"new"], root / "state")
    assert bpffs.read_octets(root / "state") == b"new"


def test_directory_outside_of_bpffs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not in a BPF file system, which pin needs: mount one"):
        bpffs.require(tmp_path / "natlens")


@pytest.mark.usefixtures("namespace")
def test_one_owner_at_a_time(root: Path) -> None:
    with closing(Pins(root / "owner", keep=True)):
        with pytest.raises(KernelError, match="another natlens agent with pin runs in this network namespace"):
            Pins(root / "owner", keep=True)
        with closing(Pins(root / "owner", keep=False)) as other:
            assert not other.held
            assert (other.left(), other.links(), other.recall()) == ([], {}, None)
    again = claim(0x6E60)
    assert again
    again.close()


def test_links_of_interfaces_that_are_gone_or_elsewhere_are_not_believed(root: Path, namespace: Namespace) -> None:
    namespace.ip("\n".join(f"link add v{n} index {NUMBER + n} type veth peer name w{n}" for n in range(3)))
    with program() as fd, closing(Pins(root / "links", keep=True)) as pins:
        for index in range(NUMBER, NUMBER + 3):
            link = libbpf.link_tcx(fd, index, libbpf.BPF_TCX_INGRESS)
            pins.pin_link(link, index, "ingress")
            os.close(link)
        elsewhere = Namespace(f"nlq{os.getpid()}")
        try:
            namespace.ip(f"link del v0\nlink set v1 netns {elsewhere.name}")
            namespace.ip(f"link add v1 index {NUMBER + 1} type veth peer name x1")  # its number, used again
            found = pins.links()
        finally:
            elsewhere.remove()
        assert found.keys() == {(NUMBER + 2, "ingress")}
        assert [one.name for one in (pins.path / "links").iterdir()] == [f"ingress_{NUMBER + 2}"]
        assert bpffs.link_place(found[NUMBER + 2, "ingress"]) == (NUMBER + 2, libbpf.BPF_TCX_INGRESS)
        os.close(found[NUMBER + 2, "ingress"])


def test_link_whose_interface_goes_while_it_is_taken_over(root: Path, namespace: Namespace) -> None:
    with program() as fd, closing(Pins(root / "late", keep=True)) as pins:
        namespace.ip(f"link add v0 index {NUMBER} type veth peer name w0")
        link = libbpf.link_tcx(fd, NUMBER, libbpf.BPF_TCX_EGRESS)
        pins.pin_link(link, NUMBER, "egress")
        os.close(link)
        attachment = TcxAttachment()
        attachment.begin(pins)
        namespace.ip(f"link del v0\nlink add v0 index {NUMBER} type veth peer name w0")
        assert attachment.attach(NUMBER, "egress", fd)
        assert attachment.stands(NUMBER, "egress")
        pinned = pins.links()
        assert pinned.keys() == {(NUMBER, "egress")}
        os.close(pinned[NUMBER, "egress"])
        attachment.detach(NUMBER, "egress")
        assert bpf.tcx_links(NUMBER, libbpf.BPF_TCX_EGRESS) == []
        assert pins.links() == {}
        attachment.close()


@pytest.mark.usefixtures("namespace")
def test_maps_of_an_agent_that_is_no_more(root: Path, load: Load) -> None:
    """Both sets are read: it may have been killed between swapping and reading."""
    natlens = load()
    fd = natlens.program_fd("ingress_l2")
    with closing(Pins(root / "maps", keep=True)) as pins:
        pins.pin_maps(natlens)
        libbpf.test_run(fd, frame(1000), 3)
        windows = Windows(natlens)
        windows._swap()
        libbpf.test_run(fd, frame(1001), 4)
        libbpf.test_run(fd, bytes(frame(1002)[:36]))
    with closing(Pins(root / "maps", keep=True)) as pins:
        pins.pin_maps(load())
        (pins.path / f"maps_{LAYOUT}_0").mkdir()  # killed while it pinned
        incomplete, left = pins.left()
        assert (incomplete.complete, left.complete, left.readable) == (False, True, True)
        taken = left.windows()
        assert [window.rows["value"]["packets"].tolist() for window in taken] == [[3], [4]]
        assert [window.rows["key"]["tuple"]["sport"].tolist() for window in taken] == [[1000], [1001]]
        assert taken[0].counters["unparsed_truncated"] == 1
        pins.clear()
        assert pins.left() == []
        assert pins.own
        assert pins.own.exists()
        pins.clear(everything=True)
        assert not pins.path.exists()


def frame(port: int) -> bytes:
    return bytes(s.Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02") / s.IP() / s.UDP(sport=port) / s.Raw(b"x"))


def filled(dtype: np.dtype[np.void], count: int, seed: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.void]]":
    octets = np.random.default_rng(seed).integers(0, 2, count * dtype.itemsize, np.uint8)
    return octets.view(dtype) if count else np.zeros(0, dtype)


def live(count: int) -> Live:
    table = Live.zeros(count)
    for number, name in enumerate(LIVE.names or ()):
        column = table[name]
        raw = np.random.default_rng(number).integers(0, 2, column.nbytes, np.uint8)
        column.reshape(-1).view(np.uint8)[:] = raw
    return table


@given(count=st.integers(0, 50), held=st.integers(0, 5), waiting=st.lists(st.integers(0, 5), max_size=3))
def test_state_survives(count: int, held: int, waiting: list[int]) -> None:
    intervals = [Interval(filled(CONNECTION, one, one), 10**18 + one) for one in waiting]
    before = State(Carry(live(count), filled(ROWS, held, 7)), intervals)
    after = unpack(b"".join(pack(before)))
    assert after
    for name in LIVE.names or ():
        assert np.array_equal(after.carry.live[name], before.carry.live[name])
        assert after.carry.live[name].flags.writeable
    assert after.carry.held.tobytes() == before.carry.held.tobytes()
    assert [one.connections.tobytes() for one in after.waiting] == [one.connections.tobytes() for one in intervals]
    assert [one.end_ns for one in after.waiting] == [one.end_ns for one in intervals]


@pytest.mark.parametrize("octets", [b"", b"short", b"another one " + bytes(100)])
def test_state_of_another_version_is_not_read(octets: bytes) -> None:
    assert unpack(octets) is None


def test_cookie_names_the_namespace(root: Path, namespace: Namespace) -> None:
    with closing(Pins(root / "names", keep=True)) as inside:
        other = Namespace(f"nlr{os.getpid()}")
        try:
            with other.enter(), closing(Pins(root / "names", keep=True)) as outside:
                assert outside.path != inside.path
            with namespace.enter(), socket.socket() as one:
                cookie = int.from_bytes(one.getsockopt(socket.SOL_SOCKET, 71, 8), "little")
            assert inside.path.name == f"net_{cookie}"
        finally:
            other.remove()
