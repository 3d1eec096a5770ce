"""What a device hands over as one packet is many on the wire: octets and packets must not depend on it."""

import os
import socket
import struct
from typing import NamedTuple

import pytest

from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.traffic import TcpServer, checksum, dial, exchange
from tests.scenarios.addresses import SERVICE, SERVICE6, tcp
from tests.scenarios.conftest import CLSACT, TCX
from tests.scenarios.harness import Count, Flow, Lab, Nat, Setup, State
from tests.scenarios.tap import NEIGHBOUR, Tap

PIECE, PIECES = 128_000, 16  # a piece fits the sockets' buffers and the kernel's backlog: nothing is lost or sent again
BIG = 180_000  # octets that BIG TCP may hand over as one packet
MAX_SIZES = 41, 58, 63, 64  # IFLA_{GSO,GRO}_MAX_SIZE, IFLA_{GSO,GRO}_IPV4_MAX_SIZE
RTM_NEWLINK, NLM_F_REQUEST_ACK = 16, 0x0005
TIMESTAMPS, SYN_OPTIONS = 12, 20  # octets of TCP options: of every segment, and of a SYN
both = pytest.mark.parametrize("version", [4, 6])


class Info(NamedTuple):
    """What a TCP socket says of itself (struct tcp_info)."""

    sent: Count
    received: Count


def info(stream: socket.socket, ip_header: int) -> Info:
    """Return the octets and segments of both ways as the socket counted them; no segment may have been lost."""
    data = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    (received,) = struct.unpack_from("=Q", data, 128)
    out, in_ = struct.unpack_from("=II", data, 136)
    sent, again = struct.unpack_from("=QQ", data, 200)
    assert again == 0
    each = ip_header + 20 + TIMESTAMPS
    syn = SYN_OPTIONS - TIMESTAMPS
    return Info(Count(sent + out * each + syn, out), Count(received + in_ * each + syn, in_))


def transfer(lab: Lab, version: int, piece: int = PIECE) -> None:
    """Send in both directions through a Service, then hold the record against the client's own TCP."""
    client, backend = lab.pod("client"), lab.pod("b1")
    service = SERVICE6 if version == 6 else SERVICE
    here, there = (client.ip6, backend.ip6) if version == 6 else (client.ip, backend.ip)
    lab.nat.service(service, "tcp", 80, [(there, 8080)])
    for pod in (client, backend):
        pod.namespace.sysctl(ipv4__tcp_sack=0)  # two CPUs may reorder segments; then their options would differ
    with TcpServer(backend.namespace, 8080), dial(client.namespace, (service, 80)) as stream:
        for _ in range(PIECES):
            exchange(stream, piece)
        lab.wire.settle(0.1)
        said = info(stream, 40 if version == 6 else 20)
        seen = tcp(here, stream.getsockname()[1], service, 80)
        flow = Flow(seen, seen._replace(dst=there, dport=8080), Nat.DNAT, "client", "b1", tracked=False)
        lab.check(flow.goes_on())
        (record,) = lab.last()
        assert (record.forward_total, record.reverse_total) == said


@both
def test_each_packet_a_segment(lab: Lab, version: int) -> None:
    transfer(lab, version)


@both
@pytest.mark.parametrize("setup", [TCX, CLSACT], ids=str)
def test_packets_of_many_segments(version: int, setup: Setup) -> None:
    with Lab(setup, offloads=True) as lab:
        lab.begin()
        transfer(lab, version)
        assert lab.wire.largest("client") > 10_000


@both
@pytest.mark.parametrize("setup", [TCX, CLSACT], ids=str)
def test_big_tcp(version: int, setup: Setup) -> None:
    with Lab(setup, offloads=True) as lab:
        for name in ("client", "b1"):
            pod = lab.pod(name)
            for namespace, device in ((lab.namespace, pod.device), (pod.namespace, "eth0")):
                allow_big(namespace, device)
            # the header that BIG TCP adds for IPv6 counts in the node's "too big to forward": leave room for it
            pod.namespace.ip("link set eth0 mtu 1400")
        lab.begin()
        transfer(lab, version, 4 * BIG)
        if lab.wire.largest("client") <= 1 << 16:
            pytest.skip(f"this kernel handed over no more than {lab.wire.largest('client')} octets as one packet")


def allow_big(namespace: Namespace, device: str) -> None:
    """Let a device hand over more than 64 KiB as one packet; iproute2 6.1 knows half of these attributes."""
    with namespace.enter(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        attributes = b"".join(struct.pack("=HHI", 8, kind, BIG) for kind in MAX_SIZES)
        message = struct.pack("=BxHiII", 0, 0, socket.if_nametoindex(device), 0, 0) + attributes
        route.send(struct.pack("=IHHII", 16 + len(message), RTM_NEWLINK, NLM_F_REQUEST_ACK, 1, 0) + message)
        (code,) = struct.unpack_from("=i", route.recv(4096), 16)
    if code:
        pytest.skip(f"no BIG TCP: {os.strerror(-code)}")


def frame(source: str, destination: str, port: int, to: int, payload: int) -> bytes:
    """Return an IPv4 TCP packet whose checksum is left to the device."""
    length = 40 + payload
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack("!BBH", 0, 6, 20 + payload)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 1, 0x4000, 64, 6, 0, pseudo[:4], pseudo[4:8])
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    unfinished = ~checksum(pseudo) & 0xFFFF
    return ip + struct.pack("!HHIIBBHHH", port, to, 1000, 1, 0x50, 0x10, 1000, unfinished, 0) + bytes(payload)


def test_tap_whose_packets_say_no_number_of_segments() -> None:
    """With vnet_hdr a tap (a virtual machine's) hands over segments by their size alone."""
    with Lab() as lab, Tap(lab.namespace, "tap0") as tap:
        server = lab.pod("b1")
        lab.namespace.ip("addr add 10.250.0.1/24 dev tap0\nlink set tap0 up")
        lab.namespace.ip(f"neigh add 10.250.0.2 lladdr {NEIGHBOUR} dev tap0")
        lab.begin()
        tap.write(frame("10.250.0.2", server.ip, 40000, 8080, 5000), segment=1000)
        lab.window()
        flow = Flow(tcp("10.250.0.2", 40000, server.ip, 8080), answered="b1", tracked=False, state=State.RESET)
        lab.check(flow, window=False)
        assert lab.last()[0].forward_total == Count(5000 + 5 * 40, 5)
