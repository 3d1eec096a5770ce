"""Names that do not name: one port towards two places, again and again, or in two zones at once."""

import time

import pytest

from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.traffic import TcpServer, UdpServer, dial, exchange, reset, talk, udp_socket
from tests.scenarios.accounting import entries
from tests.scenarios.addresses import SERVICE, tcp, udp
from tests.scenarios.conftest import FULL
from tests.scenarios.harness import Directed, Flow, Lab, Nat, State

PORT = 45000
core = pytest.mark.parametrize("lab", FULL, ids=str, indirect=True)


def translated(namespace: Namespace, original: Directed) -> Directed:
    """Return what conntrack made of a connection: the kernel may have changed the port of one that clashes."""
    (entry,) = (entry for entry in entries(namespace) if entry.original == original)
    return entry.reply.turned()


def direct(lab: Lab, original: Directed, state: State = State.CLOSED) -> Flow:
    """Return the flow of a connection that no rule translates, but a clash may."""
    after = translated(lab.namespace, original)
    return Flow(original, after, Nat.NONE if after == original else Nat.SNAT, "client", "b1", state=state)


@core
@pytest.mark.parametrize("first", ["service", "pod"])
def test_one_port_to_a_service_and_to_its_pod_both_alive(lab: Lab, first: str) -> None:
    client, backend = lab.pod("client"), lab.pod("b1")
    lab.nat.service(SERVICE, "tcp", 80, [(backend.ip, 8080)])
    to = [(SERVICE, 80), (backend.ip, 8080)]
    with TcpServer(backend.namespace, 8080):
        streams = [dial(client.namespace, there, port=PORT) for there in (to if first == "service" else to[::-1])]
        for octets in (500, 700):
            for index, stream in enumerate(streams):
                exchange(stream, octets + index)
        for stream in streams:
            stream.close()
    lab.wire.settle()
    called = tcp(client.ip, PORT, SERVICE, 80)
    after = translated(lab.namespace, called)
    nat = Nat.DNAT if after.sport == PORT else Nat.DNAT_SNAT
    plain = direct(lab, tcp(client.ip, PORT, backend.ip, 8080))
    assert {nat, plain.nat} == ({Nat.DNAT, Nat.SNAT} if first == "service" else {Nat.DNAT_SNAT, Nat.NONE})
    lab.check(Flow(called, after, nat, "client", "b1"), plain)


@core
@pytest.mark.parametrize("first", ["service", "pod"])
def test_one_port_to_a_service_and_to_its_pod_one_after_the_other(lab: Lab, first: str) -> None:
    client, backend = lab.pod("client"), lab.pod("b1")
    lab.nat.service(SERVICE, "tcp", 80, [(backend.ip, 8080)])
    to = [(SERVICE, 80), (backend.ip, 8080)]
    with TcpServer(backend.namespace, 8080):
        for octets, there in zip((300, 900), to if first == "service" else to[::-1], strict=True):
            talk(client.namespace, there, octets, port=PORT)
            time.sleep(0.05)
    called = tcp(client.ip, PORT, SERVICE, 80)
    after = translated(lab.namespace, called)
    nat = Nat.DNAT if after.sport == PORT else Nat.DNAT_SNAT
    lab.check(Flow(called, after, nat, "client", "b1"), direct(lab, tcp(client.ip, PORT, backend.ip, 8080)))


@core
def test_one_port_reused_towards_another_backend_inside_one_window(lab: Lab) -> None:
    client, one, other = lab.pod("client"), lab.pod("b1"), lab.pod("b2")
    lab.nat.service(SERVICE, "tcp", 80, [(one.ip, 8080), (other.ip, 8080)])
    with TcpServer(one.namespace, 8080), TcpServer(other.namespace, 8080):
        for octets, there in ((100, (SERVICE, 80)), (200, (SERVICE, 80)), (400, (one.ip, 8080))):
            stream = dial(client.namespace, there, port=PORT)
            exchange(stream, octets)
            reset(stream)
            time.sleep(0.05)
    called, called_pod = tcp(client.ip, PORT, SERVICE, 80), tcp(client.ip, PORT, one.ip, 8080)
    lab.check(
        Flow(called, called_pod, Nat.DNAT, "client", "b1", state=State.RESET, tracked=False),
        Flow(called, called_pod._replace(dst=other.ip), Nat.DNAT, "client", "b2", state=State.RESET),
        direct(lab, called_pod, State.RESET),
    )


@core
def test_udp_entry_deleted_in_mid_flow_and_reborn_on_another_backend(lab: Lab) -> None:
    lab.not_by_events("two entries share the octets of one tuple: ambiguous, and counted so")
    client, one, other = lab.pod("client"), lab.pod("b1"), lab.pod("b2")
    lab.nat.service(SERVICE, "udp", 53, [(one.ip, 5353), (other.ip, 5353)])
    servers = [UdpServer(one.namespace, 5353), UdpServer(other.namespace, 5353)]
    with udp_socket(client.namespace, (SERVICE, 53), port=PORT) as asker:
        for _ in range(3):
            exchange(asker, 100)
        lab.namespace.run("conntrack", "-D", "-p", "udp", "--orig-src", client.ip)
        for _ in range(4):
            exchange(asker, 230)
    for server in servers:
        server.close()
    called = udp(client.ip, PORT, SERVICE, 53)
    lab.check(
        Flow(called, udp(client.ip, PORT, one.ip, 5353), Nat.DNAT, "client", "b1", tracked=False).goes_on(),
        Flow(called, udp(client.ip, PORT, other.ip, 5353), Nat.DNAT, "client", "b2").goes_on(),
    )


@pytest.mark.parametrize("pause", [0.0, 0.1])
def test_one_port_reused_in_later_windows(lab: Lab, pause: float) -> None:
    client, one, other = lab.pod("client"), lab.pod("b1"), lab.pod("b2")
    lab.nat.service(SERVICE, "tcp", 80, [(one.ip, 8080), (other.ip, 8080)])
    with TcpServer(one.namespace, 8080), TcpServer(other.namespace, 8080):
        for octets in (100, 200):
            stream = dial(client.namespace, (SERVICE, 80), port=PORT)
            exchange(stream, octets)
            reset(stream)
            time.sleep(pause)
        lab.window()
        stream = dial(client.namespace, (one.ip, 8080), port=PORT)
        for octets in (400, 800, 1600):
            exchange(stream, octets)
            lab.window(settle=False)
        reset(stream)
    called, called_pod = tcp(client.ip, PORT, SERVICE, 80), tcp(client.ip, PORT, one.ip, 8080)
    lab.check(
        Flow(called, called_pod, Nat.DNAT, "client", "b1", state=State.RESET, tracked=False),
        Flow(called, called_pod._replace(dst=other.ip), Nat.DNAT, "client", "b2", state=State.RESET),
        direct(lab, called_pod, State.RESET),
    )
