"""What takes a module that many kernels lack: where it cannot be had the test is skipped, and says so.

`make test-kernels` runs these in virtual machines, whose kernels have them all.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from natlens.errors import KernelError
from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.packets import SCTP, Directed
from natlens.ui.lab.traffic import TcpServer, dial, talk
from tests.scenarios.addresses import SERVICE, tcp
from tests.scenarios.harness import ANY, Count, Flow, Lab, Nat

HOUR = 3600
own_machine = pytest.mark.skipif("NATLENS_VM" not in os.environ, reason="alters the whole machine: only in a VM")


def make(namespace: Namespace, batch: str) -> None:
    """Make devices, or skip where the kernel does not know their kind."""
    try:
        namespace.ip(batch)
    except KernelError as error:
        pytest.skip(f"this kernel makes no such device: {error}")


def sctp_socket(namespace: Namespace) -> socket.socket:
    try:
        with namespace.enter():
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM, SCTP)
    except OSError as error:
        pytest.skip(f"this kernel has no SCTP: {error}")


def test_sctp_sockets_over_a_service(lab: Lab) -> None:
    """An association, not just its first packet: both ends bind one address each, or they would tell of more."""
    client, backend = lab.pod("client"), lab.pod("b1")
    lab.nat.service(SERVICE, "sctp", 80, [(backend.ip, 8080)])
    listener, caller = sctp_socket(backend.namespace), sctp_socket(client.namespace)
    with listener, caller:
        listener.bind((backend.ip, 8080))
        listener.listen()
        caller.bind((client.ip, 40001))
        caller.settimeout(20)
        caller.connect((SERVICE, 80))
        served, _ = listener.accept()
        with served:
            caller.sendall(bytes(500))
            assert len(served.recv(1000)) == 500
            served.sendall(bytes(700))
            assert len(caller.recv(1000)) == 700
    seen = Directed(client.ip, 40001, SERVICE, 80, SCTP)
    lab.check(Flow(seen, seen._replace(dst=backend.ip, dport=8080), Nat.DNAT, "client", "b1").goes_on())


@pytest.fixture
def vrf(lab: Lab) -> Iterator[Lab]:
    """The uplink and the client's veth are ports of one VRF."""
    client = lab.pod("client")
    make(lab.namespace, "link add red type vrf table 100")
    lab.namespace.ip(f"""
        link set red up
        link set eth0 master red
        link set {client.device} master red
        route add default via {lab.node.outside.ip} vrf red
    """)
    lab.begin()
    lab.refresh()
    yield lab
    lab.namespace.ip("link del red")
    lab.namespace.ip(f"route add default via {lab.node.outside.ip}")
    lab.refresh()


def test_pod_to_outside_in_a_vrf(vrf: Lab) -> None:
    client, outside = vrf.pod("client"), vrf.node.outside
    with TcpServer(outside.namespace, 443):
        port = talk(client.namespace, (outside.ip, 443), 2000)
    vrf.check(Flow(tcp(client.ip, port, outside.ip, 443), dialled="client", answered="outside"))


@contextmanager
def virtual_server(
    namespace: Namespace, backend: str, port: int = 8080, *, way: str = "--masquerading", tracked: bool = True
) -> Iterator[None]:
    """Let IPVS serve SERVICE:80 by one backend, as kube-proxy's ipvs mode does (``tracked``)."""
    try:
        namespace.run("ipvsadm", "--add-service", "--tcp-service", f"{SERVICE}:80", "--scheduler", "rr")
    except KernelError as error:
        pytest.skip(f"no IPVS here: {error}")
    namespace.sysctl(ipv4__vs__conntrack=int(tracked))
    namespace.ip(f"link add kube-ipvs0 type dummy\naddr add {SERVICE}/32 dev kube-ipvs0")
    server = "--tcp-service", f"{SERVICE}:80", "--real-server", f"{backend}:{port}", way
    namespace.run("ipvsadm", "--add-server", *server)
    try:
        yield
    finally:
        namespace.run("ipvsadm", "--clear")
        namespace.ip("link del kube-ipvs0")


@pytest.mark.parametrize("masquerade", [False, True], ids=["plain", "masquerade"])
def test_ipvs(lab: Lab, masquerade: bool) -> None:
    """IPVS translates without netfilter's NAT, and conntrack's reply tuple tells of it all the same."""
    client, backend = lab.pod("client"), lab.pod("b1")
    with virtual_server(lab.namespace, backend.ip):
        lab.begin()
        if masquerade:
            lab.nat.masquerade(device=backend.device)
        with TcpServer(backend.namespace, 8080):
            port = talk(client.namespace, (SERVICE, 80), 2000)
        seen = tcp(client.ip, port, SERVICE, 80)
        source = backend.gateway if masquerade else client.ip
        answered = tcp(source, ANY if masquerade else port, backend.ip, 8080)
        lab.check(Flow(seen, answered, Nat.DNAT_SNAT if masquerade else Nat.DNAT, "client", "b1"))


def test_ipvs_that_leaves_conntrack_out(lab: Lab) -> None:
    """Nobody can tell then that both are one connection: two records, and each packet counts once all the same."""
    client, backend = lab.pod("client"), lab.pod("b1")
    with virtual_server(lab.namespace, backend.ip, tracked=False):
        lab.begin()
        with TcpServer(backend.namespace, 8080):
            port = talk(client.namespace, (SERVICE, 80), 2000)
        lab.window(flush=True)
    asked, answered = tcp(client.ip, port, SERVICE, 80), tcp(client.ip, port, backend.ip, 8080)
    wires = lab.wires()
    counted = {one.original: (one.forward_total, one.reverse_total) for one in lab.last()}
    assert counted == {asked: (wires["client"][asked], Count()), answered: (Count(), wires["b1"][answered.turned()])}
    assert {one.nat for one in lab.last()} == {Nat.NONE}
    assert lab.lost() == {}


@pytest.mark.parametrize("tracked", [True, False], ids=["conntrack", "no-conntrack"])
def test_ipvs_by_direct_routing(lab: Lab, tracked: bool) -> None:
    """The backend has the Service's address itself; its answers pass this node, for it is the backend's router."""
    client, backend = lab.pod("client"), lab.pod("b1")
    backend.namespace.ip(f"addr add {SERVICE}/32 dev lo")
    try:
        with virtual_server(lab.namespace, backend.ip, 80, way="--gatewaying", tracked=tracked):
            lab.namespace.sysctl(**{f"ipv4__conf__{backend.device}__accept_local": 1})  # their source is the node's own
            lab.begin()
            with TcpServer(backend.namespace, 80):
                port = talk(client.namespace, (SERVICE, 80), 2000)
            flow = Flow(tcp(client.ip, port, SERVICE, 80), dialled="client", answered="b1")
            lab.check(flow.untracked(0 if tracked else -1))
    finally:
        backend.namespace.ip(f"addr del {SERVICE}/32 dev lo")


@own_machine
@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forth", "back"])
def test_clock_that_is_set_while_a_connection_lives(lab: Lab, step: int) -> None:
    """Lengths are measured by a clock that nobody sets; when a connection began does not move."""
    client, backend = lab.pod("client"), lab.pod("b1")
    with TcpServer(backend.namespace, 8080):
        connection = dial(client.namespace, (backend.ip, 8080))
        with connection:
            first = lab.window()
            time.clock_settime(time.CLOCK_REALTIME, time.time() + step)
            try:
                connection.sendall(bytes(100))
                second = lab.window()
            finally:
                time.clock_settime(time.CLOCK_REALTIME, time.time() - step)
    (before,) = [one for one in first if one.original.dport == 8080]
    (after,) = [one for one in second if one.flow_id == before.flow_id]
    assert after.sequence == before.sequence + 1
    assert after.start_ns == before.start_ns
    assert before.end_ns <= after.end_ns < after.start_ns + 10**12 / 2


@own_machine
def test_full_conntrack_table(lab: Lab) -> None:
    """What the kernel refuses for want of room is counted like any other packet, and is no connection."""
    client, backend = lab.pod("client"), lab.pod("b1")
    limit = Path("/proc/sys/net/netfilter/nf_conntrack_max")
    before = limit.read_text()
    with TcpServer(backend.namespace, 8080):
        port = talk(client.namespace, (backend.ip, 8080), 100)
        limit.write_text("1")
        try:
            with client.namespace.enter():
                refused = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with refused:
                refused.bind((client.ip, 40002))
                refused.sendto(b"no room", (backend.ip, 9))
            lab.window()
        finally:
            limit.write_text(before)
    kept = [one.original for one in lab.last()]
    assert tcp(client.ip, port, backend.ip, 8080) in kept
    assert {one.zone for one in lab.last() if one.original.sport == 40002} == {-1}
