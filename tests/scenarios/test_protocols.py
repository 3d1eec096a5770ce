"""What is neither TCP nor UDP, and datagrams whose parts come in the wrong order: all by raw sockets."""

import socket
import struct
from ipaddress import ip_address

import pytest

from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.packets import SCTP, Directed
from tests.scenarios.addresses import SERVICE, error, udp
from tests.scenarios.harness import Flow, Lab, Nat

EXPERIMENT = 253  # RFC 3692: for experiments
NO_PROTOCOL = 3, 2  # ICMP: protocol unreachable
MORE = 0x2000


def send(namespace: Namespace, to: str, protocol: int, *payloads: bytes) -> None:
    with namespace.enter():
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)
    with raw:
        for payload in payloads:
            raw.sendto(payload, (to, 0))


def test_protocol_without_ports(lab: Lab) -> None:
    client, server = lab.pod("client"), lab.pod("b1")
    send(client.namespace, server.ip, EXPERIMENT, bytes(100), bytes(50))
    refused = error(server.ip, client.ip, *NO_PROTOCOL)
    lab.check(
        Flow(Directed(client.ip, 0, server.ip, 0, EXPERIMENT), dialled="client", answered="b1").silent(),
        Flow(refused, dialled="b1", answered="client").silent().untracked(),
    )


def test_sctp_service(lab: Lab) -> None:
    client, backend = lab.pod("client"), lab.pod("b1")
    lab.namespace.sysctl(netfilter__nf_conntrack_checksum=0)  # nobody computes its CRC here
    lab.nat.service(SERVICE, "sctp", 80, [(backend.ip, 8080)])
    init = struct.pack("!BBHIIHHI", 1, 0, 20, 7, 65536, 1, 1, 7)
    send(client.namespace, SERVICE, SCTP, struct.pack("!HHII", 40000, 80, 0, 0) + init)
    seen = Directed(client.ip, 40000, SERVICE, 80, SCTP)
    refused = error(backend.ip, client.ip, *NO_PROTOCOL)
    flow = Flow(seen, seen._replace(dst=backend.ip, dport=8080), Nat.DNAT, "client", "b1")
    lab.check(
        flow.silent(),
        Flow(refused, dialled="b1", also=(("client", refused._replace(src=SERVICE)),)).silent().untracked(),
    )


def fragment(source: str, to: str, number: int, place: int, payload: bytes) -> bytes:
    ends = socket.inet_aton(source) + socket.inet_aton(to)
    return struct.pack("!BBHHHBBH", 0x45, 0, 0, number, place, 64, socket.IPPROTO_UDP, 0) + ends + payload


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_fragments_in_any_order(lab: Lab, order: tuple[int, int, int]) -> None:
    """Those that come before the first one have no ports: they are told of as such, and counted."""
    # what nobody knows the ports of is named from the lower address to the higher one
    client, server = sorted((lab.pod("client"), lab.pod("b1")), key=lambda pod: ip_address(pod.ip))
    datagram = struct.pack("!HHHH", 40000, 5353, 1208, 0) + bytes(1200)
    number = 1 + order.index(0) * 10 + order.index(1)  # nobody shall remember an earlier datagram's ports
    parts = [
        fragment(client.ip, server.ip, number, begin // 8 | more, datagram[begin:end])
        for begin, end, more in ((0, 400, MORE), (400, 800, MORE), (800, None, 0))
    ]
    send(client.namespace, server.ip, socket.IPPROTO_RAW, *(parts[index] for index in order))
    with_ports = Flow(udp(client.ip, 40000, server.ip, 5353), dialled=client.name, tracked=False).silent()
    early = order.index(0)
    without = Flow(udp(client.ip, 0, server.ip, 0), dialled=client.name).silent().untracked()
    refused = Flow(error(server.ip, client.ip, 3, 3), dialled=server.name, answered=client.name).silent().untracked()
    lab.check(with_ports, refused, *([without] if early else []), without=[server.name])
    assert lab.health.count("kernel_fragments_without_first") == early
