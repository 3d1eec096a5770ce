"""Services as kube-proxy makes them."""

import pytest

from natlens.ui.lab.traffic import TcpServer, UdpServer, ping, talk, udp_socket
from tests.scenarios.addresses import SERVICE, SERVICE6, echo, say, tcp, udp
from tests.scenarios.conftest import FULL
from tests.scenarios.harness import ANY, Flow, Lab, Nat

core = pytest.mark.parametrize("lab", FULL, ids=str, indirect=True)


@core
def test_cluster_ip(lab: Lab) -> None:
    client, backend = lab.pod("client"), lab.pod("b1")
    lab.nat.service(SERVICE, "tcp", 80, [(backend.ip, 8080)])
    with TcpServer(backend.namespace, 8080):
        port = talk(client.namespace, (SERVICE, 80), 5000)
    seen = tcp(client.ip, port, SERVICE, 80), tcp(client.ip, port, backend.ip, 8080)
    lab.check(Flow(*seen, Nat.DNAT, dialled="client", answered="b1"))


@core
def test_cluster_ip_with_three_backends(lab: Lab) -> None:
    client, names = lab.pod("client"), ["b1", "b2", "b3"]
    backends = {name: lab.pod(name) for name in names}
    lab.nat.service(SERVICE, "tcp", 80, [(pod.ip, 8080) for pod in backends.values()])
    servers = [TcpServer(pod.namespace, 8080) for pod in backends.values()]
    ports = [talk(client.namespace, (SERVICE, 80), 100 * size) for size in range(1, 7)]
    for server in servers:
        server.close()
    lab.wire.settle()
    flows = []
    for port in ports:
        (name,) = (n for n in names if tcp(client.ip, port, backends[n].ip, 8080) in lab.wire.counts(n))
        seen = tcp(client.ip, port, SERVICE, 80), tcp(client.ip, port, backends[name].ip, 8080)
        flows.append(Flow(*seen, Nat.DNAT, dialled="client", answered=name))
    assert [flow.answered for flow in flows].count("b1") == 2
    lab.check(*flows)


@core
def test_node_port_with_masquerade_dialled_from_outside(lab: Lab) -> None:
    outside, backend = lab.node.outside, lab.pod("b1")
    lab.nat.service(lab.node.ip, "tcp", 30080, [(backend.ip, 8080)], masquerade=True)
    with TcpServer(backend.namespace, 8080):
        port = talk(outside.namespace, (lab.node.ip, 30080), 3000)
    seen = tcp(outside.ip, port, lab.node.ip, 30080), tcp(backend.gateway, ANY, backend.ip, 8080)
    lab.check(Flow(*seen, Nat.DNAT_SNAT, dialled="outside", answered="b1"))


@core
def test_pod_to_outside_with_masquerade(lab: Lab) -> None:
    client, outside = lab.pod("client"), lab.node.outside
    lab.nat.masquerade(device="eth0")
    with TcpServer(outside.namespace, 443):
        port = talk(client.namespace, (outside.ip, 443), 3000)
    seen = tcp(client.ip, port, outside.ip, 443), tcp(lab.node.ip, ANY, outside.ip, 443)
    lab.check(Flow(*seen, Nat.SNAT, dialled="client", answered="outside"))


@core
def test_host_client_to_cluster_ip(lab: Lab) -> None:
    backend = lab.pod("b1")
    lab.nat.service(SERVICE, "tcp", 80, [(backend.ip, 8080)])
    with TcpServer(backend.namespace, 8080):
        port = talk(lab.namespace, (SERVICE, 80))
    seen = tcp(lab.node.ip, port, SERVICE, 80), tcp(lab.node.ip, port, backend.ip, 8080)
    lab.check(Flow(*seen, Nat.DNAT, answered="b1"))


def test_host_client_to_cluster_ip_with_the_backend_on_the_node_itself(lab: Lab) -> None:
    lab.nat.service(SERVICE, "tcp", 443, [(lab.node.ip, 6443)])
    with TcpServer(lab.namespace, 6443):
        port = talk(lab.namespace, (SERVICE, 443))
    seen = tcp(lab.node.ip, port, SERVICE, 443), tcp(lab.node.ip, port, lab.node.ip, 6443)
    lab.check(Flow(*seen, Nat.DNAT, answered="lo"))


def test_port_only(lab: Lab) -> None:
    client, backend = lab.pod("client"), lab.pod("b1")
    lab.nat.service(backend.ip, "tcp", 80, [(backend.ip, 8080)])
    with TcpServer(backend.namespace, 8080):
        port = talk(client.namespace, (backend.ip, 80))
    seen = tcp(client.ip, port, backend.ip, 80), tcp(client.ip, port, backend.ip, 8080)
    lab.check(Flow(*seen, Nat.DNAT, dialled="client", answered="b1"))


def test_a_pod_calls_its_own_service(lab: Lab) -> None:
    pod = lab.pod("b1")
    lab.nat.service(SERVICE, "tcp", 80, [(pod.ip, 8080)])
    lab.nat.hairpin(pod.ip)
    with TcpServer(pod.namespace, 8080):
        port = talk(pod.namespace, (SERVICE, 80))
    seen = tcp(pod.ip, port, SERVICE, 80), tcp(pod.gateway, ANY, pod.ip, 8080)
    lab.check(Flow(*seen, Nat.DNAT_SNAT, dialled="b1", answered="b1"))


def test_host_network_backend(lab: Lab) -> None:
    client = lab.pod("client")
    lab.nat.service(SERVICE, "tcp", 443, [(lab.node.ip, 6443)])
    with TcpServer(lab.namespace, 6443):
        port = talk(client.namespace, (SERVICE, 443))
    seen = tcp(client.ip, port, SERVICE, 443), tcp(client.ip, port, lab.node.ip, 6443)
    lab.check(Flow(*seen, Nat.DNAT, dialled="client"))


def test_host_port(lab: Lab) -> None:
    outside, backend = lab.node.outside, lab.pod("b1")
    lab.nat.service(lab.node.ip, "tcp", 8080, [(backend.ip, 80)])
    with TcpServer(backend.namespace, 80):
        port = talk(outside.namespace, (lab.node.ip, 8080))
    seen = tcp(outside.ip, port, lab.node.ip, 8080), tcp(outside.ip, port, backend.ip, 80)
    lab.check(Flow(*seen, Nat.DNAT, dialled="outside", answered="b1"))


def test_redirect(lab: Lab) -> None:
    client = lab.pod("client")
    lab.nat.redirect("203.0.113.7", "tcp", 80, to=15001)
    with TcpServer(lab.namespace, 15001):
        port = talk(client.namespace, ("203.0.113.7", 80))
    seen = tcp(client.ip, port, "203.0.113.7", 80), tcp(client.ip, port, client.gateway, 15001)
    lab.check(Flow(*seen, Nat.DNAT, dialled="client"))


@core
def test_udp_service(lab: Lab) -> None:
    client, backend = lab.pod("client"), lab.pod("b1")
    lab.nat.service(SERVICE, "udp", 53, [(backend.ip, 5353)])
    with UdpServer(backend.namespace, 5353):
        port = say(client.namespace, (SERVICE, 53))
    seen = udp(client.ip, port, SERVICE, 53), udp(client.ip, port, backend.ip, 5353)
    lab.check(Flow(*seen, Nat.DNAT, dialled="client", answered="b1").goes_on())


def test_one_way_udp_service_towards_a_pod(lab: Lab) -> None:
    client, backend = lab.pod("client"), lab.pod("b1")
    lab.nat.service(SERVICE, "udp", 514, [(backend.ip, 5140)])
    with UdpServer(backend.namespace, 5140, answers=False), udp_socket(client.namespace, (SERVICE, 514)) as socket:
        socket.send(b"only one")
        seen = udp(client.ip, socket.getsockname()[1], SERVICE, 514)
        lab.check(
            Flow(
                seen,
                seen._replace(dst=backend.ip, dport=5140),
                Nat.DNAT,
                dialled="client",
                answered="b1",
            ).silent()
        )


@pytest.mark.parametrize("datagrams", [1, 5])
def test_one_way_udp_service_towards_a_process_of_the_node(lab: Lab, datagrams: int) -> None:
    client = lab.pod("client")
    lab.nat.service(SERVICE, "udp", 514, [(lab.node.ip, 5140)])
    with UdpServer(lab.namespace, 5140, answers=False), udp_socket(client.namespace, (SERVICE, 514)) as socket:
        for _ in range(datagrams):
            socket.send(b"one way")
        seen = udp(client.ip, socket.getsockname()[1], SERVICE, 514)
        translated = seen._replace(dst=lab.node.ip, dport=5140)
        lab.check(Flow(seen, translated, Nat.DNAT, dialled="client").silent())


@core
def test_cluster_ip_over_ipv6(lab: Lab) -> None:
    client, backend = lab.pod("client"), lab.pod("b1")
    lab.nat.service(SERVICE6, "tcp", 80, [(backend.ip6, 8080)])
    with TcpServer(backend.namespace, 8080):
        port = talk(client.namespace, (SERVICE6, 80), 3000)
    seen = tcp(client.ip6, port, SERVICE6, 80), tcp(client.ip6, port, backend.ip6, 8080)
    lab.check(Flow(*seen, Nat.DNAT, dialled="client", answered="b1"))


@core
def test_nat66(lab: Lab) -> None:
    client, outside = lab.pod("client"), lab.node.outside
    lab.nat.masquerade(device="eth0")
    with TcpServer(outside.namespace, 443):
        port = talk(client.namespace, (outside.ip6, 443), 3000)
    seen = tcp(client.ip6, port, outside.ip6, 443), tcp(lab.node.ip6, ANY, outside.ip6, 443)
    lab.check(Flow(*seen, Nat.SNAT, dialled="client", answered="outside"))


@core
@pytest.mark.parametrize("version", [4, 6])
def test_pings_through_masquerade_that_must_change_the_identifier(lab: Lab, version: int) -> None:
    first, second = lab.pod("client"), lab.pod("b1")
    lab.nat.masquerade(device="eth0")
    ends = {4: (first.ip, second.ip, lab.node.ip, lab.node.outside.ip)}
    ends[6] = (first.ip6, second.ip6, lab.node.ip6, lab.node.outside.ip6)
    one, other, node, outside = ends[version]
    ping(first.namespace, outside, 7)
    ping(second.namespace, outside, 7, count=2)
    lab.wire.settle()
    identifiers = {seen.sport for seen in lab.wire.counts("outside") if seen.src == node and seen.dst == outside}
    assert 7 in identifiers
    (changed,) = identifiers - {7}
    lab.check(
        Flow(echo(one, outside, 7), echo(node, outside, 7), Nat.SNAT, "client", "outside").goes_on(),
        Flow(echo(other, outside, 7), echo(node, outside, changed), Nat.SNAT, "b1", "outside").goes_on(),
    )
