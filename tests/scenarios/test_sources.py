"""Every source of NAT tells the same: one agent by each that this kernel has, all on one node, record by record."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from natlens.config import Options
from natlens.errors import KernelError
from natlens.flows.join import Carry, join
from natlens.health import Health
from natlens.kernel.capture import Capture
from natlens.kernel.structs import TranslationSource
from natlens.pipeline import take
from natlens.ui.lab.nat import NftablesNat
from natlens.ui.lab.packets import TCP
from natlens.ui.lab.traffic import TcpServer, UdpServer, dial, exchange, reset, talk
from tests.scenarios.addresses import SERVICE, SERVICE6, say, tcp
from tests.scenarios.harness import LIMITS, Lab, Nat, NatSource, Record, Setup
from tests.scenarios.record import chatter, read_record
from tests.scenarios.test_sampling import RATE, sampled

SOURCES: tuple[NatSource, ...] = "tc", "fentry", "kprobe", "ctnetlink"
Traffic = Callable[[Lab], None]


def destination(lab: Lab) -> None:
    lab.nat.service(SERVICE, "tcp", 80, [(lab.pod("b1").ip, 8080)])
    with TcpServer(lab.pod("b1").namespace, 8080):
        talk(lab.pod("client").namespace, (SERVICE, 80), 5000, port=40001)
        talk(lab.namespace, (SERVICE, 80), 700, port=40002)
        talk(lab.pod("client").namespace, (lab.pod("b1").ip, 8080), 300, port=40003)  # without NAT


def both(lab: Lab) -> None:
    lab.nat.service(lab.node.ip, "tcp", 30080, [(lab.pod("b1").ip, 8080)], masquerade=True)
    with TcpServer(lab.pod("b1").namespace, 8080):
        stream = dial(lab.node.outside.namespace, (lab.node.ip, 30080), port=40001)
        exchange(stream, 100)
        lab.wire.settle(0.05)
        exchange(stream, 2000)
        stream.close()


def source(lab: Lab) -> None:
    lab.nat.masquerade(device="eth0")
    with TcpServer(lab.node.outside.namespace, 443):
        talk(lab.pod("client").namespace, (lab.node.outside.ip, 443), 3000, port=40001)
        talk(lab.pod("client").namespace, (lab.node.outside.ip6, 443), 3000, port=40002)


def datagrams(lab: Lab) -> None:
    lab.nat.service(SERVICE6, "udp", 53, [(lab.pod("b1").ip6, 5353)])
    lab.nat.service(SERVICE, "udp", 514, [(lab.node.ip, 5140)])
    with UdpServer(lab.pod("b1").namespace, 5353), UdpServer(lab.namespace, 5140, answers=False):
        say(lab.pod("client").namespace, (SERVICE6, 53), port=40001)
        say(lab.pod("client").namespace, (lab.pod("b1").ip6, 5353), port=40002)  # without NAT


def reuse(lab: Lab) -> None:
    lab.nat.service(SERVICE, "tcp", 80, [(lab.pod(name).ip, 8080) for name in ("b1", "b2")])
    with TcpServer(lab.pod("b1").namespace, 8080), TcpServer(lab.pod("b2").namespace, 8080):
        for octets, to in ((100, (SERVICE, 80)), (200, (SERVICE, 80)), (400, (lab.pod("b1").ip, 8080))):
            stream = dial(lab.pod("client").namespace, to, port=40001)
            exchange(stream, octets)
            reset(stream)
            lab.wire.settle(0.05)


@pytest.mark.parametrize("name", SOURCES)
def test_rules_leave_out_whole_connections_whoever_tells(name: NatSource) -> None:
    """Where packets do not tell, the kernel leaves out less and user space the rest: the sums are the same."""
    rule = "reject responder.port=8080"  # of a request nobody knows it before its NAT is known
    with Lab(Setup(source=name), capture_rules=[rule]) as lab:
        client, pod = lab.pod("client"), lab.pod("b1")
        lab.begin()
        lab.nat.service(SERVICE, "tcp", 80, [(pod.ip, 8080)], masquerade=True)
        lab.nat.service(SERVICE, "tcp", 81, [(pod.ip, 8181)])
        with TcpServer(pod.namespace, 8080), TcpServer(pod.namespace, 8181):
            rejected = talk(client.namespace, (SERVICE, 80), 4000)
            kept = talk(client.namespace, (SERVICE, 81), 500)
        lab.window()
        lab.window(flush=True)
        (record,) = lab.last()
        dialled, wire = tcp(client.ip, kept, SERVICE, 81), lab.wires()["client"]
        assert (record.original, record.translated.dport) == (dialled, 8181)
        assert (record.forward_total, record.reverse_total) == (wire[dialled], wire[dialled.turned()])
        left_out = [count for one, count in wire.items() if rejected in (one.sport, one.dport)]
        assert lab.health.count("rule_octets", rule=rule) == sum(count.octets for count in left_out) > 8000


@pytest.mark.parametrize("name", SOURCES)
def test_sampled_connections_are_whole_whoever_tells(name: NatSource) -> None:
    with Lab(Setup(source=name), sampling=RATE) as lab:
        client, pod = lab.pod("client"), lab.pod("b1")
        lab.begin()
        lab.nat.service(SERVICE, "tcp", 80, [(pod.ip, 8080)], masquerade=True)
        calls = [tcp(client.ip, port, SERVICE, 80) for port in range(41000, 41016)]
        with TcpServer(pod.namespace, 8080):
            for one in calls:
                talk(client.namespace, (SERVICE, 80), 300, port=one.sport)
        lab.window()
        lab.window(flush=True)
        wire, records = lab.wires()["client"], lab.last()
        assert {record.original for record in records} == {one for one in calls if sampled(one)} != set()
        for record in records:
            assert record.nat == Nat.DNAT | Nat.SNAT
            counts = wire[record.original], wire[record.original.turned()]
            assert (record.forward_total, record.reverse_total) == counts


class Agent:
    """One source's capture on the node, and what it recorded."""

    def __init__(self, lab: Lab, source: NatSource) -> None:
        self._lab, self.source, self.health = lab, source, Health()
        self.carry, self.records, self.told = Carry(), list[Record](), set[int]()
        with lab.namespace.enter():
            self.capture = Capture(Options(nat_source=source), self.health)
            self.capture.refresh()

    def window(self) -> None:
        with self._lab.namespace.enter():
            joined = join(take(self.capture, self.carry, self.health), self.carry, LIMITS)
        self.carry = joined.carry
        assert joined.ambiguous_octets == 0
        for row in joined.connections:
            record = read_record(row, self.capture.names)
            if not chatter(record.original):
                self.records.append(record)
                self.told |= {int(row["nat_source"])} - {0}

    def close(self) -> None:
        with self._lab.namespace.enter():
            self.capture.close()


def alike(records: list[Record]) -> list[Record]:
    """Return them without what two programs on one packet cannot tell alike: the time, and the names made of it."""
    return sorted(
        (
            replace(one, start_ns=0, end_ns=0, flow_id=one.flow_id if one.original.proto == TCP else b"")
            for one in records
        ),
        key=repr,
    )


@pytest.fixture(scope="module")
def agents() -> Iterator[tuple[Lab, list[Agent], dict[str, str]]]:
    """Yield a node, an agent for each source that can be had, and why the others cannot."""
    made: list[Agent] = []
    missing: dict[str, str] = {}
    with Lab() as lab:
        for name in ("client", "b1", "b2"):
            lab.pod(name)
        for one in SOURCES:
            try:
                made.append(Agent(lab, one))
            except KernelError as error:
                missing[one] = str(error)
        yield lab, made, missing
        for agent in made:
            agent.close()


@pytest.mark.parametrize("traffic", [destination, both, source, datagrams, reuse], ids=lambda one: one.__name__)
@pytest.mark.parametrize("name", SOURCES[1:])
def test_a_source_tells_what_every_other_tells(
    agents: tuple[Lab, list[Agent], dict[str, str]], name: str, traffic: Traffic
) -> None:
    lab, made, missing = agents
    if name in missing:
        pytest.skip(missing[name])
    first, other = made[0], next(one for one in made if one.source == name)
    if first is other:
        pytest.skip("there is no other source to compare with")
    lab.namespace.run("nft", "flush", "ruleset")
    lab.nat = NftablesNat(lab.node)
    lab.namespace.run("conntrack", "-F")
    for agent in (first, other):
        agent.window()
        agent.carry = Carry()
        agent.records.clear()
        agent.told.clear()
    traffic(lab)
    lab.wire.settle()
    for agent in (first, other):
        agent.window()
    assert any(record.nat for record in first.records)
    assert alike(other.records) == alike(first.records)
    assert other.told == {TranslationSource[name.upper()]}
