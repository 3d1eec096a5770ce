"""Packets that are several on the wire, in a tunnel: every segment's headers count, outer and inner ones."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from natlens.kernel import libbpf
from natlens.kernel.windows import Windows
from natlens.ui.lab.namespaces import Namespace
from tests.kernel.conftest import Load
from tests.kernel.packets import s
from tests.kernel.tap import PAGED, Tap

SOURCE = Path(__file__).with_name("encapsulate.bpf.c")
VIRTIO_TCP4 = 1
UDP_SEGMENT = 103
MSS = 1000
IP, TCP, UDP, VXLAN, ETHERNET = 20, 20, 8, 8, 14


@pytest.fixture(scope="module")
def encapsulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[libbpf.Object]:
    path = tmp_path_factory.mktemp("bpf") / "encapsulate.o"
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    subprocess.run(["clang", "-O2", "-g", "-target", "bpf", include, "-c", SOURCE, "-o", path], check=True)
    loaded = libbpf.Object(path)
    loaded.load()
    yield loaded
    loaded.close()


@contextmanager
def _attached(namespace: Namespace, ifindex: int, side: int, *programs: int) -> Iterator[None]:
    """Attach programs, the last one first in the chain."""
    with namespace.enter():
        links = [libbpf.link_tcx(program, ifindex, side) for program in programs]
    yield
    for link in links:
        os.close(link)


def _counted(windows: Windows, protocol: int) -> list[tuple[int, int]]:
    """Return packets and octets of the window's rows of one protocol."""
    rows = windows.take().rows
    value = rows["value"][rows["key"]["tuple"]["proto"] == protocol]
    return list(zip(value["packets"].tolist(), value["octets"].tolist(), strict=True))


def test_tcp_in_ipip(load: Load, encapsulator: libbpf.Object) -> None:
    natlens = load()
    windows = Windows(natlens)
    payload = PAGED + 1
    packet = s.Ether(dst="ff:ff:ff:ff:ff:ff", src="02:00:00:00:00:01") / s.IP() / s.TCP() / s.Raw(bytes(payload))
    programs = natlens.program_fd("ingress_l2"), encapsulator.program_fd("encapsulate")
    with Tap() as tap, _attached(tap.namespace, tap.ifindex, libbpf.BPF_TCX_INGRESS, *programs):
        tap.receive(bytes(packet), linear=ETHERNET + IP + TCP, gso=(VIRTIO_TCP4, MSS))
    segments = -(-payload // MSS)
    assert _counted(windows, 4) == [(segments, payload + segments * (IP + IP + TCP))]


@pytest.fixture
def node() -> Iterator[Namespace]:
    """A namespace whose vx0 is a VXLAN over a veth that takes tunnelled segments whole."""
    inside, far = Namespace(f"nlv{os.getpid()}-a"), Namespace(f"nlv{os.getpid()}-b")
    inside.ip(f"""
        link add up0 type veth peer name up1 netns {far.name}
        addr add 192.0.2.1/24 dev up0
        link set up0 mtu 1500 up
        neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev up0
        link add vx0 mtu 1400 type vxlan id 7 remote 192.0.2.2 dstport 4789 dev up0
        addr add 10.0.0.1/24 dev vx0
        link set vx0 up
        neigh add 10.0.0.2 lladdr 02:00:00:00:00:03 dev vx0
    """)
    far.ip("link set up1 up")
    yield inside
    far.remove()
    inside.remove()


def test_udp_segments_in_vxlan(load: Load, node: Namespace) -> None:
    natlens = load()
    windows = Windows(natlens)
    payload = 9 * MSS + 1
    with node.enter():
        ifindex = socket.if_nametoindex("up0")
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender, _attached(node, ifindex, libbpf.BPF_TCX_EGRESS, natlens.program_fd("egress_l2")):
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, MSS)
        sender.sendto(b"\xff" * payload, ("10.0.0.2", 9))
    segments = -(-payload // MSS)
    outer = IP + UDP + VXLAN + ETHERNET + IP + UDP
    assert (segments, payload + segments * outer) in _counted(windows, 17)
