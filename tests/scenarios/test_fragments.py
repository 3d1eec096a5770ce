"""Fragments and extension headers: later parts have no ports, and headers stand between IP and transport."""

import socket

import pytest

from natlens.ui.lab.traffic import UdpServer, exchange, udp_socket
from tests.scenarios.addresses import SERVICE, SERVICE6, say, udp
from tests.scenarios.harness import Flow, Lab, Nat

BIG = 5000
PAD = bytes([0, 0, 1, 4, 0, 0, 0, 0])  # an extension header of eight bytes: PadN
RECORD_ROUTE = bytes([7, 11, 4, *bytes(8), 0])
both = pytest.mark.parametrize("version", [4, 6])


def addresses(lab: Lab, version: int) -> tuple[str, str, str]:
    """Return client, backend and Service."""
    client, backend = lab.pod("client"), lab.pod("b1")
    return (client.ip6, backend.ip6, SERVICE6) if version == 6 else (client.ip, backend.ip, SERVICE)


@both
def test_fragments_forwarded(lab: Lab, version: int) -> None:
    client, backend, _ = addresses(lab, version)
    with UdpServer(lab.pod("b1").namespace, 5353):
        port = say(lab.pod("client").namespace, (backend, 5353), 3, BIG)
    flow = Flow(udp(client, port, backend, 5353), dialled="client", answered="b1", tracked=False)
    lab.check(flow.goes_on())


@both
def test_fragments_through_a_service(lab: Lab, version: int) -> None:
    client, backend, service = addresses(lab, version)
    lab.nat.service(service, "udp", 53, [(backend, 5353)])
    with UdpServer(lab.pod("b1").namespace, 5353):
        port = say(lab.pod("client").namespace, (service, 53), 3, BIG)
    seen = udp(client, port, service, 53), udp(client, port, backend, 5353)
    lab.check(Flow(*seen, Nat.DNAT, "client", "b1", tracked=False).goes_on())


@both
def test_fragments_sent_and_received_by_the_host(lab: Lab, version: int) -> None:
    _, backend, service = addresses(lab, version)
    pod = lab.pod("b1")
    lab.nat.service(service, "udp", 53, [(backend, 5353)])
    node = lab.node.ip6 if version == 6 else lab.node.ip
    near = pod.gateway6 if version == 6 else pod.gateway
    with UdpServer(pod.namespace, 5353):
        direct = say(lab.namespace, (backend, 5353), 2, BIG)
        port = say(lab.namespace, (service, 53), 3, BIG)
    seen = udp(node, port, service, 53), udp(node, port, backend, 5353)
    lab.check(
        Flow(udp(near, direct, backend, 5353), answered="b1", tracked=False).goes_on(),
        Flow(*seen, Nat.DNAT, answered="b1", tracked=False).goes_on(),
    )


@both
@pytest.mark.parametrize("octets", [100, BIG])
def test_options_between_ip_and_transport(lab: Lab, version: int, octets: int) -> None:
    client, backend, service = addresses(lab, version)
    lab.nat.service(service, "udp", 53, [(backend, 5353)])
    with (
        UdpServer(lab.pod("b1").namespace, 5353),
        udp_socket(lab.pod("client").namespace, (service, 53)) as asker,
    ):
        if version == 6:
            for option in (socket.IPV6_HOPOPTS, socket.IPV6_DSTOPTS):
                asker.setsockopt(socket.IPPROTO_IPV6, option, PAD)
        else:
            asker.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, RECORD_ROUTE)
        for _ in range(3):
            exchange(asker, octets)
        port = asker.getsockname()[1]
    seen = udp(client, port, service, 53), udp(client, port, backend, 5353)
    lab.check(Flow(*seen, Nat.DNAT, "client", "b1", tracked=False).goes_on())
