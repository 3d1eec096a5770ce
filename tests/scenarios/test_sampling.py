"""Sampling on a node that translates: of a connection everything is counted or nothing, whatever its protocol."""

from collections.abc import Iterator

import numpy as np
import pytest

from natlens.flows.sampling import is_sampled
from natlens.flows.tuples import TUPLE, pack_address
from natlens.ui.lab.packets import Directed
from natlens.ui.lab.traffic import TcpServer, UdpServer, ping, talk
from tests.scenarios.addresses import SERVICE, SERVICE6, say
from tests.scenarios.conftest import CLSACT, TCX
from tests.scenarios.harness import Count, Lab, Nat, Record

RATE = 4


@pytest.fixture(params=[TCX, CLSACT], ids=str)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab(request.param, sampling=RATE) as one:
        one.begin()
        yield one


def sampled(one: Directed) -> bool:
    """Tell whether a connection is, by its ORIGINAL tuple."""
    row = np.zeros(1, TUPLE)
    row["src"], row["dst"] = (np.frombuffer(pack_address(text), np.uint8) for text in (one.src, one.dst))
    row["sport"], row["dport"], row["proto"] = one.sport, one.dport, one.proto
    return bool(is_sampled(row, RATE)[0])


def whole(lab: Lab, tap: str) -> list[Record]:
    """Check that the tap's connections are recorded to the packet if they are sampled, else not; returns those."""
    seen = lab.wires()[tap]
    initiated = [one for one in seen if one.dport in (53, 80, 443) or one.dport in (8 << 8, 128 << 8)]
    records = {record.original: record for record in lab.last()}
    assert records.keys() == {one for one in initiated if sampled(one)}
    for one, record in records.items():
        assert (record.forward_total, record.reverse_total) == (seen[one], seen[one.turned()])
    left_out = [seen[one] for one in seen if not sampled(one)]
    told = lab.health.count("sampled_out_packets"), lab.health.count("sampled_out_octets")
    assert told >= (sum(one.packets for one in left_out), sum(one.octets for one in left_out))
    assert 0 < len(records) < len(initiated)
    return list(records.values())


def test_service_calls(lab: Lab) -> None:
    client, backend = lab.pod("client"), lab.pod("b1")
    lab.nat.service(SERVICE, "tcp", 80, [(backend.ip, 8080)])
    lab.nat.service(SERVICE6, "udp", 53, [(backend.ip6, 5353)])
    lab.nat.service(SERVICE, "udp", 53, [(backend.ip, 5353)])
    with TcpServer(backend.namespace, 8080), UdpServer(backend.namespace, 5353):
        for round_ in range(3):
            for _ in range(8):
                talk(client.namespace, (SERVICE, 80), 3000)
                say(client.namespace, (SERVICE, 53), 1 + round_)
                say(client.namespace, (SERVICE6, 53), 1 + round_)
            lab.window()
    records = whole(lab, "client")
    assert {record.nat for record in records} == {Nat.DNAT}


def test_masqueraded_calls_and_pings_that_the_kernel_cannot_look_up(lab: Lab) -> None:
    client, outside = lab.pod("client"), lab.node.outside
    lab.nat.masquerade(device="eth0")
    with TcpServer(outside.namespace, 443):
        for number in range(12):
            talk(client.namespace, (outside.ip, 443))
            ping(client.namespace, outside.ip, 100 + number, count=2)
            ping(client.namespace, outside.ip6, 200 + number, count=1)
    lab.window()
    records = whole(lab, "client")
    assert {record.nat for record in records} == {Nat.SNAT}
    assert {record.original.proto for record in records} == {1, 6, 58}


def test_a_long_connection_stays_in_or_out(lab: Lab) -> None:
    client, backend = lab.pod("client"), lab.pod("b1")
    lab.nat.service(SERVICE, "udp", 53, [(backend.ip, 5353)])
    with UdpServer(backend.namespace, 5353):
        for _ in range(4):  # windows
            for port in range(20000, 20012):
                say(client.namespace, (SERVICE, 53), 4, port=port)
            lab.window()
    records = whole(lab, "client")
    assert {record.forward_total.packets for record in records} == {16}
    assert {record.sequence for record in records} == {3}
    assert all(isinstance(record.forward, Count) for record in records)
