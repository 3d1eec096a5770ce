"""Devices on which a packet passes twice, or not at all, unless somebody thought of it."""

import socket
from collections.abc import Iterator

import pytest

from natlens.ui.lab.traffic import TcpServer, UdpServer, talk
from tests.scenarios.addresses import SERVICE, say, tcp, udp
from tests.scenarios.conftest import CLSACT, FULL, TCX
from tests.scenarios.harness import ANY, Flow, Lab, Nat, Setup

attached = pytest.mark.parametrize("setup", [TCX, CLSACT], ids=str)
BRIDGE = "10.244.200"


def plug(lab: Lab, name: str, number: int) -> str:
    """Add a pod behind a port of the bridge br0; returns its address."""
    namespace = lab.node.make_namespace(name)
    lab.namespace.ip(f"link add p-{name} type veth peer name eth0 netns {namespace.name}")
    lab.node.disable_offloads(lab.namespace, f"p-{name}")
    lab.node.disable_offloads(namespace, "eth0")
    lab.namespace.ip(f"link set p-{name} master br0 up")
    namespace.ip(f"addr add {BRIDGE}.{number}/24 dev eth0\nlink set eth0 up\nroute add default via {BRIDGE}.1")
    lab.wire.tap(name, namespace)
    lab.namespaces[name] = namespace
    return f"{BRIDGE}.{number}"


@pytest.fixture(params=FULL, ids=str)
def bridged(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Three pods on a Linux bridge, which shows bridged packets to netfilter."""
    with Lab(request.param) as lab:
        lab.namespace.ip(f"""
            link add br0 type bridge forward_delay 0
            addr add {BRIDGE}.1/24 dev br0
            link set br0 up
        """)
        lab.node.disable_offloads(lab.namespace, "br0")
        try:
            lab.namespace.sysctl(**{f"bridge__bridge-nf-call-{kind}": 1 for kind in ("iptables", "ip6tables")})
        except FileNotFoundError:
            pytest.skip("this kernel has no br_netfilter")
        for number, name in enumerate(("one", "two", "three"), 2):
            plug(lab, name, number)
        lab.begin()
        yield lab


def test_pods_on_a_bridge(bridged: Lab) -> None:
    """To a Service on the same bridge, from pod to pod, to the outside, and from the node."""
    lab = bridged
    one, two, three = (f"{BRIDGE}.{number}" for number in (2, 3, 4))
    lab.nat.service(SERVICE, "tcp", 80, [(two, 8080)])
    lab.nat.masquerade(device="eth0")
    outside = lab.node.outside
    client, peer = lab.namespaces["one"], lab.namespaces["three"]
    with TcpServer(lab.namespaces["two"], 8080), TcpServer(outside.namespace, 443), UdpServer(peer, 53):
        called = talk(client, (SERVICE, 80), 3000)
        dialled = talk(client, (two, 8080), 2000)
        asked = say(client, (three, 53), 3)
        left = talk(client, (outside.ip, 443), 1000)
        host = talk(lab.namespace, (SERVICE, 80), 500)
    lab.check(
        Flow(tcp(one, called, SERVICE, 80), tcp(one, called, two, 8080), Nat.DNAT, "one", "two"),
        Flow(tcp(one, dialled, two, 8080), dialled="one", answered="two"),
        Flow(udp(one, asked, three, 53), dialled="one", answered="three").goes_on(),
        Flow(tcp(one, left, outside.ip, 443), tcp(lab.node.ip, ANY, outside.ip, 443), Nat.SNAT, "one", "outside"),
        Flow(tcp(lab.node.ip, host, SERVICE, 80), tcp(lab.node.ip, host, two, 8080), Nat.DNAT, "", "two"),
    )


@attached
@pytest.mark.parametrize("sender", ["node", "pod"])
def test_broadcast_into_a_bridge_is_one_packet(setup: Setup, sender: str) -> None:
    """Three ports carry a copy each."""
    with Lab(setup) as lab:
        lab.namespace.ip(f"link add br0 type bridge forward_delay 0\naddr add {BRIDGE}.1/24 dev br0\nlink set br0 up")
        names = ["one", "two", "three"]
        for number, name in enumerate(names, 2):
            plug(lab, name, number)
        lab.begin()
        source, namespace = {
            "node": (f"{BRIDGE}.1", lab.namespace),
            "pod": (f"{BRIDGE}.2", lab.namespaces["one"]),
        }[sender]
        with namespace.enter():
            caller = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with caller:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            caller.bind((source, 5000))
            for _ in range(4):
                caller.sendto(b"everybody", (f"{BRIDGE}.255", 6000))
        seen = udp(source, 5000, f"{BRIDGE}.255", 6000)
        also = tuple((name, seen) for name in names)
        lab.check(Flow(seen, also=also, tracked=False).silent().untracked(lab.zone(seen)))
