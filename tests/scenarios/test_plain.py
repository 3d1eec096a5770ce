"""Connections without NAT, those that nobody answers, and ICMP."""

import contextlib
import socket

import pytest

from natlens.ui.lab.traffic import TcpServer, UdpServer, dial, exchange, ping, talk, udp_socket
from tests.scenarios.addresses import SERVICE, echo, error, say, tcp, udp
from tests.scenarios.harness import Flow, Lab, Nat, State

FILTER = "add table ip guard\nadd chain ip guard forward { type filter hook forward priority 0; }\n"


def filters(lab: Lab, verdict: str) -> None:
    lab.node.nft(f"{FILTER}add rule ip guard forward ip daddr {SERVICE} {verdict}\n")


@pytest.mark.parametrize("version", [4, 6])
def test_pod_to_pod(lab: Lab, version: int) -> None:
    client, server = lab.pod("client"), lab.pod("b1")
    ends = (client.ip6, server.ip6) if version == 6 else (client.ip, server.ip)
    with TcpServer(server.namespace, 8080), UdpServer(server.namespace, 53):
        port = talk(client.namespace, (ends[1], 8080), 4000)
        other = say(client.namespace, (ends[1], 53))
    lab.check(
        Flow(tcp(ends[0], port, ends[1], 8080), dialled="client", answered="b1"),
        Flow(udp(ends[0], other, ends[1], 53), dialled="client", answered="b1").goes_on(),
    )


@pytest.mark.parametrize("version", [4, 6])
def test_one_datagram_each_way_has_its_initiator_and_zone(lab: Lab, version: int) -> None:
    client, server = lab.pod("client"), lab.pod("b1")
    ends = (client.ip6, server.ip6) if version == 6 else (client.ip, server.ip)
    with UdpServer(server.namespace, 30000):
        port = say(client.namespace, (ends[1], 30000), 1, port=20000)  # the server's port is the higher one
    lab.check(Flow(udp(ends[0], port, ends[1], 30000), dialled="client", answered="b1").goes_on())


def test_pod_to_node(lab: Lab) -> None:
    client = lab.pod("client")
    with TcpServer(lab.namespace, 10250):
        port = talk(client.namespace, (lab.node.ip, 10250))
    lab.check(Flow(tcp(client.ip, port, lab.node.ip, 10250), dialled="client"))


def test_node_to_pod(lab: Lab) -> None:
    server = lab.pod("b1")
    with TcpServer(server.namespace, 8080):
        port = talk(lab.namespace, (server.ip, 8080))
    lab.check(Flow(tcp(server.gateway, port, server.ip, 8080), answered="b1"))


def test_node_to_itself(lab: Lab) -> None:
    with TcpServer(lab.namespace, 2379, "127.0.0.1"):
        port = talk(lab.namespace, ("127.0.0.1", 2379))
    lab.check(Flow(tcp("127.0.0.1", port, "127.0.0.1", 2379), dialled="lo"))


@pytest.mark.parametrize("version", [4, 6])
def test_pings_both_ways_with_one_identifier(lab: Lab, version: int) -> None:
    one, other = lab.pod("client"), lab.pod("b1")
    here, there = (one.ip6, other.ip6) if version == 6 else (one.ip, other.ip)
    ping(one.namespace, there, 9, count=3)
    ping(other.namespace, here, 9, count=2)
    ping(one.namespace, there, 9, count=1)
    lab.check(
        Flow(echo(here, there, 9), dialled="client", answered="b1").goes_on(),
        Flow(echo(there, here, 9), dialled="b1", answered="client").goes_on(),
    )


def test_service_without_endpoints_rejects(lab: Lab) -> None:
    client = lab.pod("client")
    filters(lab, "reject")
    with pytest.raises(ConnectionRefusedError):
        talk(client.namespace, (SERVICE, 80), port=40001)
    lab.check(
        Flow(tcp(client.ip, 40001, SERVICE, 80), dialled="client").silent().untracked(),
        Flow(error(client.gateway, client.ip, 3, 3), answered="client").silent().untracked(),
    )


def test_service_without_endpoints_resets(lab: Lab) -> None:
    client = lab.pod("client")
    filters(lab, "meta l4proto tcp reject with tcp reset")
    with pytest.raises(ConnectionRefusedError):
        talk(client.namespace, (SERVICE, 80), port=40002)
    flow = Flow(tcp(client.ip, 40002, SERVICE, 80), dialled="client", state=State.RESET, tracked=False)
    lab.check(flow if lab.source == "tc" else flow.untracked())  # conntrack never confirmed it: no event


def test_dropped_syn(lab: Lab) -> None:
    client = lab.pod("client")
    filters(lab, "drop")
    with client.namespace.enter():
        dropped = socket.socket()
    with dropped:
        dropped.setblocking(False)
        dropped.bind(("", 40003))
        with contextlib.suppress(BlockingIOError):
            dropped.connect((SERVICE, 80))
        lab.wire.settle()
    seen = tcp(client.ip, 40003, SERVICE, 80)
    lab.check(Flow(seen, dialled="client").silent().untracked())


def test_port_unreachable_inside_nat(lab: Lab) -> None:
    client, backend = lab.pod("client"), lab.pod("b1")
    lab.nat.service(SERVICE, "udp", 53, [(backend.ip, 5353)])
    with udp_socket(client.namespace, (SERVICE, 53)) as asker:
        asker.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            asker.recv(1)
        seen = udp(client.ip, asker.getsockname()[1], SERVICE, 53)
    refused = error(backend.ip, client.ip, 3, 3)
    lab.check(
        Flow(seen, seen._replace(dst=backend.ip, dport=5353), Nat.DNAT, dialled="client", answered="b1").silent(),
        Flow(
            refused,
            dialled="b1",
            also=(("client", refused._replace(src=SERVICE)),),
        )
        .silent()
        .untracked(),
    )


def test_packet_too_big_inside_nat(lab: Lab) -> None:
    client, backend = lab.pod("client"), lab.pod("b1")
    lab.nat.service(SERVICE, "tcp", 80, [(backend.ip, 8080)])
    lab.namespace.ip(f"route replace {backend.ip} dev {backend.device} mtu 1200")
    try:
        with TcpServer(backend.namespace, 8080), dial(client.namespace, (SERVICE, 80)) as stream:
            exchange(stream, 8000)
            seen = tcp(client.ip, stream.getsockname()[1], SERVICE, 80)
            stream.shutdown(socket.SHUT_WR)
            stream.recv(1)
    finally:
        lab.namespace.ip(f"route del {backend.ip} dev {backend.device}")
        client.namespace.ip("route flush cache")
    too_big = error(SERVICE, client.ip, 3, 4)  # from the node; NAT hides where it stumbled
    lab.check(
        Flow(seen, seen._replace(dst=backend.ip, dport=8080), Nat.DNAT, dialled="client", tracked=False),
        Flow(too_big, answered="client").silent().untracked(),
        without=["b1"],  # what was too big is not seen there
    )
