"""Pods of two nodes over each kind of tunnel: what is inside counts once, outer packets are flows of their own."""

from collections.abc import Iterator

import pytest

from natlens.ui.lab.traffic import TcpServer, UdpServer, ping, talk
from tests.scenarios.addresses import SERVICE, echo, say, tcp, udp
from tests.scenarios.conftest import CLSACT
from tests.scenarios.harness import ANY, Flow, Lab, Nat, Setup
from tests.scenarios.remote import NEAR, NEAR6, REMOTE, REMOTE6, outer, overlay, plain_device, wireguard

KINDS = {
    "ipip": plain_device("type ipip local {here} remote {there} ttl 64"),
    "gre": plain_device("type gre local {here} remote {there} ttl 64"),
    "gre-key": plain_device("type gre local {here} remote {there} key 7 csum seq ttl 64"),
    "gretap": plain_device("type gretap local {here} remote {there} ttl 64"),
    "sit": plain_device("type sit mode any local {here} remote {there} ttl 64"),
    "ip6tnl": plain_device("type ip6tnl mode any local {here6} remote {there6}"),
    "ip6gre": plain_device("type ip6gre local {here6} remote {there6}"),
    "ip6gretap": plain_device("type ip6gretap local {here6} remote {there6}"),
    "vxlan": plain_device("type vxlan id 7 local {here} remote {there} dstport 4789"),
    "geneve": plain_device("type geneve id 7 remote {there} dstport 6081"),
    "geneve6": plain_device("type geneve id 7 remote {there6} dstport 6081"),
    "wireguard": wireguard,
}
WITHOUT_IPV6 = {"ipip"}
BOTH_WAYS = {"ipip", "vxlan"}  # one device without a link layer, one with


@pytest.fixture(
    params=[(kind, setup) for kind in KINDS for setup in (Setup(), CLSACT) if setup != CLSACT or kind in BOTH_WAYS],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def tunnel(request: pytest.FixtureRequest) -> Iterator[tuple[Lab, str]]:
    """A node with a tunnel, and its kind."""
    kind, setup = request.param
    with overlay(setup, KINDS[kind]) as lab:
        yield lab, kind


def test_pod_and_a_pod_behind_a_tunnel(tunnel: tuple[Lab, str]) -> None:
    """Both call, to a Service too, and the node itself does; by IPv6 as well where the tunnel carries it."""
    lab, kind = tunnel
    client, remote = lab.pod("client"), lab.node.outside.namespace
    lab.nat.service(SERVICE, "tcp", 80, [(REMOTE, 8080)])
    lab.nat.masquerade(device="tun1")
    with TcpServer(remote, 8080, REMOTE), TcpServer(client.namespace, 8080), UdpServer(client.namespace, 53, client.ip):
        called = talk(client.namespace, (SERVICE, 80), 3000)
        back = talk(remote, (client.ip, 8080), 2000)
        asked = say(remote, (client.ip, 53))
        host = talk(lab.namespace, (REMOTE, 8080), 500)
    ping(client.namespace, REMOTE, 77)
    flows = [
        Flow(tcp(client.ip, called, SERVICE, 80), tcp(NEAR, ANY, REMOTE, 8080), Nat.DNAT_SNAT, "client", "inner"),
        Flow(tcp(REMOTE, back, client.ip, 8080), dialled="inner", answered="client"),
        Flow(udp(REMOTE, asked, client.ip, 53), dialled="inner", answered="client").goes_on(),
        Flow(tcp(NEAR, host, REMOTE, 8080), answered="inner"),
        Flow(echo(client.ip, REMOTE, 77), echo(NEAR, REMOTE, ANY), Nat.SNAT, "client", "inner").goes_on(),
    ]
    if kind not in WITHOUT_IPV6:
        with TcpServer(remote, 8080, REMOTE6):
            port = talk(client.namespace, (REMOTE6, 8080), 1500)
        seen = tcp(client.ip6, port, REMOTE6, 8080)
        flows += [Flow(seen, seen._replace(src=NEAR6, sport=ANY), Nat.SNAT, "client", "inner")]
    lab.check(*flows, *outer(lab))
