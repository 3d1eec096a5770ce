"""Pods of two nodes over VXLAN: the outer packets are flows of their own, the inner ones pass once."""

from collections.abc import Iterator

import pytest

from natlens.ui.lab.traffic import TcpServer, UdpServer, talk
from tests.scenarios.addresses import say, tcp, udp
from tests.scenarios.conftest import CLSACT, TCX
from tests.scenarios.harness import Flow, Lab

REMOTE, REMOTE6 = "10.245.1.2", "fd00:245:1::2"
TUNNEL = 4789


@pytest.fixture(params=[TCX, CLSACT], ids=str)
def overlay(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The world outside is another node with one pod, REMOTE, behind a VXLAN."""
    with Lab(request.param) as lab:
        node, other = lab.node, lab.node.outside
        for namespace, here, there, net in (
            (lab.namespace, node.ip, other.ip, "1"),
            (other.namespace, other.ip, node.ip, "2"),
        ):
            namespace.ip(f"""
                link add vxlan0 type vxlan id 7 local {here} remote {there} dstport {TUNNEL} dev eth0
                addr add 10.245.0.{net}/24 dev vxlan0
                addr add fd00:245::{net}/64 dev vxlan0 nodad
                link set vxlan0 up
            """)
        other.namespace.ip(f"""
            addr add {REMOTE}/32 dev lo
            addr add {REMOTE6}/128 dev lo
            route add 10.244.0.0/16 via 10.245.0.1
            route add fd00:244::/32 via fd00:245::1
        """)
        lab.namespace.ip(f"route add {REMOTE}/32 via 10.245.0.2\nroute add {REMOTE6}/128 via fd00:245::2")
        client = lab.pod("client")
        for namespace, device in ((client.namespace, "eth0"), (lab.namespace, client.device)):
            namespace.ip(f"link set {device} mtu 1450")
        lab.wire.tap("inner", other.namespace, "vxlan0")
        lab.begin()
        yield lab


def outer(lab: Lab) -> list[Flow]:
    """Return the flows of the tunnel itself as the uplink saw them: one for each hash of inner ports and way."""
    lab.wire.settle()
    seen = [one for one in lab.wire.counts("outside") if one.dport == TUNNEL]
    return [Flow(one, dialled="outside", tracked=False).silent() for one in seen]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("octets", [200, 5000])
def test_pod_to_a_pod_behind_vxlan(overlay: Lab, version: int, octets: int) -> None:
    lab, client = overlay, overlay.pod("client")
    here, there = (client.ip6, REMOTE6) if version == 6 else (client.ip, REMOTE)
    remote = lab.node.outside.namespace
    with UdpServer(remote, 53, there), TcpServer(remote, 80, there):
        asked = say(client.namespace, (there, 53), 3, octets)
        called = talk(client.namespace, (there, 80), octets)
    lab.check(
        Flow(udp(here, asked, there, 53), dialled="client", answered="inner", tracked=False).goes_on(),
        Flow(tcp(here, called, there, 80), dialled="client", answered="inner", tracked=False),
        *outer(lab),
    )
