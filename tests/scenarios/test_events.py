"""What conntrack's events alone cannot know (ADR 17): who of two owns a row. Nothing is lost, and sums are right.

How much is called ambiguous depends on which events are read together: these have one time.
"""

from collections.abc import Iterator

import pytest

from natlens.ui.lab.traffic import UdpServer, exchange, udp_socket
from tests.scenarios.addresses import SERVICE, say, udp
from tests.scenarios.harness import Count, Lab, Record, Setup
from tests.scenarios.test_zones import BACKEND, CLIENT, PORT, TENANTS, move_in


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(Setup(source="ctnetlink")) as one:
        yield one


def sums(records: list[Record]) -> tuple[Count, Count]:
    forward, reverse = Count(), Count()
    for record in records:
        forward, reverse = forward + record.forward_total, reverse + record.reverse_total
    return forward, reverse


def test_two_lives_of_one_datagram_socket_share_what_was_dialled(lab: Lab) -> None:
    """ORIGINAL is one row for both; what each backend answered is known.

    Where both beginnings are read together the row goes to one of them, and is not called ambiguous: a defect.
    """
    pods = [lab.pod(name) for name in ("b1", "b2")]
    client = lab.pod("client")
    lab.begin()
    lab.nat.service(SERVICE, "udp", 53, [(pod.ip, 5353) for pod in pods])
    with (
        UdpServer(pods[0].namespace, 5353),
        UdpServer(pods[1].namespace, 5353),
        udp_socket(client.namespace, (SERVICE, 53), port=PORT) as asker,
    ):
        exchange(asker, 100)
        lab.namespace.run("conntrack", "-D", "-p", "udp", "--orig-src", client.ip)
        for _ in range(2):
            exchange(asker, 230)
    lab.window()
    dialled = udp(client.ip, PORT, SERVICE, 53)
    records = {record.translated.dst: record for record in lab.last()}
    wires = lab.wires()
    assert records.keys() == {pod.ip for pod in pods}
    assert {record.original for record in records.values()} == {dialled}
    for name, pod in zip(("b1", "b2"), pods, strict=True):
        assert records[pod.ip].reverse_total == wires[name][udp(client.ip, PORT, pod.ip, 5353).turned()]
    assert sums(lab.last())[0] == wires["client"][dialled]
    assert lab.ambiguous in (0, wires["client"][dialled].octets)


def test_two_zones_with_the_same_addresses_cannot_be_told_apart_while_both_live(lab: Lab) -> None:
    rules = "add table ip zones\nadd chain ip zones raw { type filter hook prerouting priority -300; }\n"
    for number in TENANTS:
        client, backend = move_in(lab, number)
        rules += f"add rule ip zones raw iifname {{ {client}, {backend} }} ct zone set {number}\n"
    lab.begin()
    lab.node.nft(rules)
    lab.nat.service(SERVICE, "udp", 53, [(BACKEND, 5353)])
    for number in TENANTS:
        with UdpServer(lab.namespaces[f"backend{number}"], 5353):
            say(lab.namespaces[f"client{number}"], (SERVICE, 53), number, port=PORT)
    lab.window()
    dialled, wires = udp(CLIENT, PORT, SERVICE, 53), lab.wires()
    seen = [wires[f"client{number}"] for number in TENANTS]
    assert {record.original for record in lab.last()} == {dialled}
    assert sums(lab.last()) == tuple(seen[0][one] + seen[1][one] for one in (dialled, dialled.turned()))
    second, both = (sum(count.octets for one in some for count in one.values()) for some in (seen[1:], seen))
    assert second <= lab.ambiguous <= both  # the first one spoke alone
