"""Connections longer than a window, and than an agent."""

import itertools
import socket

import pytest

from natlens.flows.connection import EndReason
from natlens.ui.lab.node import Node, Pod
from natlens.ui.lab.traffic import TcpServer, UdpServer, dial, exchange, reset, udp_socket
from tests.scenarios.addresses import SERVICE, tcp, udp
from tests.scenarios.conftest import CLSACT, TCX
from tests.scenarios.harness import GOES_ON, Count, Directed, Flow, Lab, Nat, Record, Setup, State

WINDOWS = 20
Older = tuple[socket.socket, Flow]


def dialled(lab: Lab, kind: str) -> tuple[tuple[str, int], Nat]:
    """Return where a client dials to reach the pod b1: the Service in front of it, or the pod."""
    backend = lab.pod("b1")
    if kind == "pod":
        return (backend.ip, 8080), Nat.NONE
    lab.nat.service(SERVICE, "tcp", 80, [(backend.ip, 8080)])
    lab.nat.service(SERVICE, "udp", 80, [(backend.ip, 8080)])
    return (SERVICE, 80), Nat.DNAT


def check_series(records: list[Record]) -> None:
    """One connection's records: numbered without a gap, one name and start, totals that are the sums so far."""
    assert [record.sequence for record in records] == list(range(len(records)))
    assert len({(record.flow_id, record.start_ns, record.original, record.translated) for record in records}) == 1
    for way in ("forward", "reverse"):
        sums = itertools.accumulate((getattr(record, way) for record in records), Count.__add__)
        assert [getattr(record, f"{way}_total") for record in records] == list(sums)
    assert [record.end_ns for record in records] == sorted(record.end_ns for record in records)


@pytest.mark.parametrize("kind", ["service", "pod"])
def test_connection_over_twenty_windows(lab: Lab, kind: str) -> None:
    client, backend = lab.pod("client"), lab.pod("b1")
    to, nat = dialled(lab, kind)
    with TcpServer(backend.namespace, 8080), dial(client.namespace, to) as stream:
        port = stream.getsockname()[1]
        exchange(stream)
        lab.window()
        for octets in range(1, WINDOWS):
            exchange(stream, 100 * octets)
            assert len(lab.window(settle=False)) == 1
        assert [record.state for record in lab.records] == [State.NEW] + [State.OPEN] * (WINDOWS - 1)
        assert {record.end_reason for record in lab.records} == {GOES_ON}
    seen = tcp(client.ip, port, *to), tcp(client.ip, port, backend.ip, 8080)
    lab.check(Flow(*seen, nat, "client", "b1"))
    check_series(lab.records)
    assert len(lab.records) == WINDOWS + 1


def test_silent_connection_is_not_reported_again_and_keeps_its_name(lab: Lab) -> None:
    client, backend = lab.pod("client"), lab.pod("b1")
    to, nat = dialled(lab, "service")
    with UdpServer(backend.namespace, 8080), udp_socket(client.namespace, to) as asker:
        exchange(asker)
        assert len(lab.window()) == 1
        assert lab.window() == []
        assert lab.window() == []
        exchange(asker)
        seen = udp(client.ip, asker.getsockname()[1], *to)
        lab.check(
            Flow(seen, seen._replace(dst=backend.ip, dport=8080), nat, "client", "b1", state=State.OPEN, end=GOES_ON)
        )
    check_series(lab.records)


@pytest.mark.parametrize("kind", ["service", "pod"])
def test_agent_restarted_in_mid_connection(lab: Lab, kind: str) -> None:
    client, backend = lab.pod("client"), lab.pod("b1")
    to, nat = dialled(lab, kind)
    with TcpServer(backend.namespace, 8080), dial(client.namespace, to) as stream:
        port = stream.getsockname()[1]
        exchange(stream, 1000)
        lab.restart()
        exchange(stream, 300)
    lab.window()
    assert [record.end_reason for record in lab.records] == [EndReason.FORCED_END, EndReason.END_OF_FLOW_DETECTED]
    before, after = lab.records
    assert (before.state, after.state) == (State.OPEN, State.CLOSED)
    seen = tcp(client.ip, port, *to), tcp(client.ip, port, backend.ip, 8080)
    assert {(one.original, one.translated, one.nat, one.zone, one.sequence) for one in lab.records} == {
        (*seen, nat, 0, 0)
    }
    passed = lab.wires()["client"]
    assert before.forward + after.forward == passed[seen[0]]
    assert before.reverse + after.reverse == passed[seen[0].turned()]
    assert lab.wires()["b1"] == {seen[1]: passed[seen[0]], seen[1].turned(): passed[seen[0].turned()]}
    assert lab.lost() == {}


def older(client: Pod | Node, to: tuple[str, int], reached: tuple[str, int], dialled: str, answered: str) -> Older:
    """Dial, and return the stream with the flow that it must become though conntrack has counted it for longer."""
    stream = dial(client.namespace, to)
    exchange(stream, 1000)
    source, port = stream.getsockname()
    seen = tcp(source, port, *to), tcp(source, port, *reached)
    nat = Nat.NONE if to == reached else Nat.DNAT
    return stream, Flow(*seen, nat, dialled, answered, tracked=False)


@pytest.mark.parametrize("setup", [TCX, CLSACT], ids=str)
def test_connections_older_than_the_agent(setup: Setup) -> None:
    with Lab(setup) as lab:
        client, backend = lab.pod("client"), lab.pod("b1")
        pod, host = (backend.ip, 8080), (lab.node.ip, 6443)
        lab.nat.service(SERVICE, "tcp", 80, [pod])
        lab.nat.service(SERVICE, "tcp", 443, [host])
        with TcpServer(backend.namespace, 8080), TcpServer(lab.namespace, 6443):
            connections = [
                older(client, (SERVICE, 80), pod, "client", "b1"),
                older(client, pod, pod, "client", "b1"),
                older(client, (SERVICE, 443), host, "client", ""),
                older(lab.node, (SERVICE, 80), pod, "", "b1"),
                older(lab.node, (SERVICE, 443), host, "", "lo"),
            ]
            lab.wire.settle()
            lab.wire.clear()
            lab.start()
            for octets, (stream, _) in itertools.product((200, 300, 400), connections):
                exchange(stream, octets)
                lab.window(settle=False)
            for stream, _ in connections:
                stream.close()
        lab.check(*(flow for _, flow in connections))
        for _, flow in connections:
            check_series([record for record in lab.records if record.original == flow.original])


def test_one_way_connection_older_than_the_agent() -> None:
    """A reset is all that the agent sees of it: nobody but the dump knows who began, and what was dialled."""
    with Lab() as lab:
        client, backend = lab.pod("client"), lab.pod("b1")
        lab.nat.service(SERVICE, "tcp", 80, [(backend.ip, 8080)])
        with TcpServer(backend.namespace, 8080):
            stream = dial(client.namespace, (SERVICE, 80))
            port = int(stream.getsockname()[1])
            exchange(stream, 1000)
            lab.wire.settle()
            lab.wire.clear()
            lab.start()
            reset(stream)
            lab.wire.settle()
        seen: tuple[Directed, Directed] = tcp(client.ip, port, SERVICE, 80), tcp(client.ip, port, backend.ip, 8080)
        lab.check(Flow(*seen, Nat.DNAT, "client", "b1", state=State.RESET, tracked=False))
