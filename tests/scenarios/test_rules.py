"""Rules on a node that translates: all sightings of a connection are left out or none, whoever knows it first."""

from collections.abc import Callable, Iterator

import pytest

from natlens.ui.lab.traffic import TcpServer, UdpServer, ping, talk
from tests.scenarios.addresses import SERVICE, say, tcp
from tests.scenarios.conftest import TCX
from tests.scenarios.harness import Flow, Lab, Nat

Ruled = Callable[..., Lab]


@pytest.fixture
def ruled() -> Iterator[Ruled]:
    """Return what makes a node with rules: ``ruled("reject …", …)``."""
    labs: list[Lab] = []

    def make(*rules: str) -> Lab:
        lab = Lab(TCX, capture_rules=rules)
        labs.append(lab)
        lab.begin()
        return lab

    yield make
    for lab in labs:
        lab.close()


def counted(lab: Lab, rule: str) -> tuple[int, int]:
    return lab.health.count("rule_packets", rule=rule), lab.health.count("rule_octets", rule=rule)


def passed(lab: Lab, *taps: str) -> tuple[int, int]:
    """Return packets and octets that taps saw."""
    counts = [count for name in taps for count in lab.wires().get(name, {}).values()]
    return sum(count.packets for count in counts), sum(count.octets for count in counts)


# By any of its names a connection goes; each rule alone must leave out both directions of it, to the packet.
@pytest.mark.parametrize(
    "rule",
    [
        f"reject cidr={SERVICE}",
        "reject port=80",
        "reject port=8080",
        "reject destination.port=80",
        f"reject destination.cidr={SERVICE}/32 destination.port=1-100",
        "reject responder.port=8080",
        "reject source.cidr=10.0.0.0/8 responder.port=8000-8999 protocol=tcp",
        "reject protocol=tcp",
    ],
)
def test_a_rejected_service_call_leaves_nothing(ruled: Ruled, rule: str) -> None:
    lab = ruled(rule)
    client, backend = lab.pod("client"), lab.pod("b1")
    lab.nat.service(SERVICE, "tcp", 80, [(backend.ip, 8080)])
    with TcpServer(backend.namespace, 8080):
        talk(client.namespace, (SERVICE, 80), 5000)
    lab.window()
    assert lab.records == []
    assert lab.lost() == {}
    assert counted(lab, rule) == passed(lab, "client")
    lab.window()
    assert lab.records == []


@pytest.mark.parametrize(
    "rule",
    [
        "reject source.port=80",
        "reject destination.port=8080",
        "reject responder.port=80",
        f"reject source.cidr={SERVICE}",
        "reject protocol=udp port=80",
        "reject cidr=fd00:96::/64",
        "reject interface=nothing*",
    ],
)
def test_what_a_rule_is_not_about_is_whole(ruled: Ruled, rule: str) -> None:
    lab = ruled(rule)
    client, backend = lab.pod("client"), lab.pod("b1")
    lab.nat.service(SERVICE, "tcp", 80, [(backend.ip, 8080)])
    with TcpServer(backend.namespace, 8080):
        port = talk(client.namespace, (SERVICE, 80), 5000)
    seen = tcp(client.ip, port, SERVICE, 80), tcp(client.ip, port, backend.ip, 8080)
    lab.check(Flow(*seen, Nat.DNAT, dialled="client", answered="b1"))
    assert counted(lab, rule) == (0, 0)


def test_datagrams_and_pings_are_rejected_whole(ruled: Ruled) -> None:
    rules = "reject responder.port=5353", "reject protocol=icmp source.cidr=10.0.0.0/8 responder.cidr=10.0.0.0/8"
    lab = ruled(*rules)
    client, backend = lab.pod("client"), lab.pod("b1")
    lab.nat.service(SERVICE, "udp", 53, [(backend.ip, 5353)])
    with UdpServer(backend.namespace, 5353):
        say(client.namespace, (SERVICE, 53))
        say(client.namespace, (SERVICE, 53), 1)
        ping(client.namespace, backend.ip, 7, count=2)
    for _ in range(2):
        lab.window()
        assert lab.records == []
    both = [counted(lab, rule) for rule in rules]
    assert (both[0][0] + both[1][0], both[0][1] + both[1][1]) == passed(lab, "client")
    assert both[1][0] == 4


def test_masqueraded_calls_are_rejected_by_their_client_and_by_their_new_source(ruled: Ruled) -> None:
    lab = ruled("reject source.cidr=10.0.0.0/8 destination.port=443")
    client, outside = lab.pod("client"), lab.node.outside
    lab.nat.masquerade(device="eth0")
    with TcpServer(outside.namespace, 443), TcpServer(outside.namespace, 444):
        talk(client.namespace, (outside.ip, 443), 3000)
        port = talk(client.namespace, (outside.ip, 444), 3000)
    lab.window()
    (record,) = lab.records
    assert record.original == tcp(client.ip, port, outside.ip, 444)
    assert record.nat == Nat.SNAT
    assert min(record.forward.packets, record.reverse.packets) > 3


def test_the_longest_prefix_wins_then_the_order(ruled: Ruled) -> None:
    lab = ruled(
        "reject",
        f"reject destination.cidr={SERVICE}/16".replace(SERVICE, "10.96.0.0"),
        f"accept destination.cidr={SERVICE}/32",
        f"reject destination.cidr={SERVICE}/32",
        "accept",
    )
    client, backend = lab.pod("client"), lab.pod("b1")
    for address in (SERVICE, "10.96.0.11"):
        lab.nat.service(address, "tcp", 80, [(backend.ip, 8080)])
    with TcpServer(backend.namespace, 8080):
        port = talk(client.namespace, (SERVICE, 80))
        talk(client.namespace, ("10.96.0.11", 80))
        talk(client.namespace, (backend.ip, 8080))
    lab.window()
    (record,) = lab.records
    assert record.original == tcp(client.ip, port, SERVICE, 80)
    accepted, wide, rest = (
        counted(lab, f"{verdict} destination.cidr={cidr}")
        for verdict, cidr in (("accept", f"{SERVICE}/32"), ("reject", "10.96.0.0/16"), ("reject", f"{SERVICE}/32"))
    )
    assert accepted == (
        record.forward.packets + record.reverse.packets,
        record.forward.octets + record.reverse.octets,
    )
    assert rest == (0, 0)
    assert wide[0] > 8
    assert wide[0] + accepted[0] < passed(lab, "client")[0]  # the last call was another rule's


def test_rules_about_a_place_are_about_packets_there(ruled: Ruled) -> None:
    """A record then has what was counted elsewhere: that is what such a rule asks for."""
    lab = ruled("reject direction=egress", "reject interface=eth0")
    client, backend = lab.pod("client"), lab.pod("b1")
    with TcpServer(backend.namespace, 8080):
        port = talk(client.namespace, (backend.ip, 8080))
        talk(lab.namespace, (backend.ip, 8080))
    with TcpServer(lab.namespace, 9000):
        talk(lab.node.outside.namespace, (lab.node.ip, 9000))
    lab.window()
    whole = [record for record in lab.records if record.forward.packets and record.reverse.packets]
    assert [record.original for record in whole] == [tcp(client.ip, port, backend.ip, 8080)]
    half = [record for record in lab.records if record not in whole]
    assert len(half) == 1  # the pod's answers to the node came in by the pod's interface
    assert half[0].original.turned().src == backend.ip or half[0].original.dst == backend.ip


def test_a_rule_follows_interfaces_that_appear(ruled: Ruled) -> None:
    lab = ruled("reject interface=*")
    client, backend = lab.pod("client"), lab.pod("b1")
    with TcpServer(backend.namespace, 8080):
        talk(client.namespace, (backend.ip, 8080))
    lab.window()
    assert lab.records == []
    assert counted(lab, "reject interface=*")[0] >= passed(lab, "client")[0]


def test_a_port_that_is_used_again_for_another_connection_is_judged_again(ruled: Ruled) -> None:
    lab = ruled(f"reject destination.cidr={SERVICE}")
    client, backend = lab.pod("client"), lab.pod("b1")
    lab.nat.service(SERVICE, "tcp", 80, [(backend.ip, 8080)])
    with TcpServer(backend.namespace, 8080):
        for _ in range(3):
            talk(client.namespace, (SERVICE, 80), 1000, port=30000)
            lab.namespace.run("conntrack", "-F")
            talk(client.namespace, (backend.ip, 8080), 1000, port=30000)
            lab.namespace.run("conntrack", "-F")
    lab.window()
    assert {record.original for record in lab.records} == {tcp(client.ip, 30000, backend.ip, 8080)}
    sums = [sum(getattr(record, way).packets for record in lab.records) for way in ("forward", "reverse")]
    assert sums[0] == lab.wires()["client"][tcp(client.ip, 30000, backend.ip, 8080)].packets
