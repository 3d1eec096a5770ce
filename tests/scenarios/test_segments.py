"""What a device hands over as one packet is many on the wire: octets and packets must not depend on it."""

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.traffic import checksum, dial
from tests.scenarios.addresses import SERVICE, SERVICE6, tcp
from tests.scenarios.conftest import CLSACT, TCX
from tests.scenarios.harness import Count, Flow, Lab, Nat, Setup, State
from tests.scenarios.tap import NEIGHBOUR, Tap

PIECE, PIECES = 128_000, 16  # a piece fits the sockets' buffers and the kernel's backlog: nothing is lost
BIG = 180_000  # octets that BIG TCP may hand over as one packet
MAX_SIZES = 41, 58, 63, 64  # IFLA_{GSO,GRO}_MAX_SIZE, IFLA_{GSO,GRO}_IPV4_MAX_SIZE
RTM_NEWLINK, NLM_F_REQUEST_ACK = 16, 0x0005
TIMESTAMPS, SYN_OPTIONS = 12, 20  # octets of TCP options: of every segment, and of a SYN
Ends = tuple[socket.socket, socket.socket]
both = pytest.mark.parametrize("version", [4, 6])


def sent(stream: socket.socket, ip_header: int, *, uncounted: int = 0) -> Count:
    """Return the octets and segments that a socket has sent by its own count, those sent again included."""
    data = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    (segments,) = struct.unpack_from("=I", data, 136)  # tcpi_segs_out
    segments += uncounted
    (payload,) = struct.unpack_from("=Q", data, 200)  # tcpi_bytes_sent
    return Count(payload + segments * (ip_header + 20 + TIMESTAMPS) + SYN_OPTIONS - TIMESTAMPS, segments)


def bring(sender: socket.socket, receiver: socket.socket, octets: int) -> None:
    thread = threading.Thread(target=sender.sendall, args=(bytes(octets),))
    thread.start()
    while octets:
        octets -= len(receiver.recv(octets))
    thread.join()


@contextmanager
def connection(
    client: Namespace, to: tuple[str, int], server: Namespace, at: int
) -> Iterator[tuple[socket.socket, ...]]:
    """Yield both ends."""
    with server.enter():
        listener = socket.create_server(("::", at), family=socket.AF_INET6, dualstack_ipv6=True)
    with listener, dial(client, to) as near:
        far, _ = listener.accept()
        with far:
            yield near, far


def transfer(lab: Lab, version: int, piece: int = PIECE) -> None:
    """Send in both directions through a Service, then hold the record against both ends' own TCP."""
    client, backend = lab.pod("client"), lab.pod("b1")
    service, header = (SERVICE6, 40) if version == 6 else (SERVICE, 20)
    here, there = (client.ip6, backend.ip6) if version == 6 else (client.ip, backend.ip)
    lab.nat.service(service, "tcp", 80, [(there, 8080)])
    for pod in (client, backend):
        pod.namespace.sysctl(ipv4__tcp_sack=0)  # two CPUs may reorder segments; then their options would differ
    with connection(client.namespace, (service, 80), backend.namespace, 8080) as (near, far):
        for _ in range(PIECES):
            bring(near, far, piece)
            bring(far, near, piece)
        lab.wire.settle(0.1)
        seen = tcp(here, near.getsockname()[1], service, 80)
        flow = Flow(seen, seen._replace(dst=there, dport=8080), Nat.DNAT, "client", "b1", tracked=False)
        lab.check(flow.goes_on())
        (record,) = lab.last()
        assert record.forward_total == sent(near, header)
        assert record.reverse_total == sent(far, header, uncounted=1)  # its SYN+ACK: before there was a socket


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
