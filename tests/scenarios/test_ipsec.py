"""IPsec: what is seen of a connection before it is encrypted and after, each packet once (docs/architecture.md).

The world outside is another node; REMOTE is its pod. A device sees what it carries: ESP. In tunnel mode what was
decrypted comes in once more, by the same device, and is seen there; what is about to be encrypted is seen nowhere but
where it came in.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from natlens.errors import KernelError
from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.packets import UDP, Directed
from natlens.ui.lab.traffic import TcpServer, talk
from tests.scenarios.accounting import entries
from tests.scenarios.addresses import SERVICE, tcp
from tests.scenarios.conftest import CLSACT
from tests.scenarios.harness import Count, Flow, Lab, Nat, Setup
from tests.scenarios.remote import REMOTE, REMOTE6

ESP, NAT_T = 50, 4500
UDP_ENCAP, ESP_IN_UDP = 100, 2
CIPHER = f"aead rfc4106(gcm(aes)) 0x{'07' * 20} 128"
PODS, PODS6 = "10.244.0.0/16", "fd00:244::/32"
either = pytest.mark.parametrize("setup", [Setup(), CLSACT], ids=str)
auto = pytest.mark.parametrize("setup", [Setup()], ids=str)

Pair = tuple[str, str]  # what is at the node, what is outside


def encrypt(lab: Lab, ends: Pair, inside: Pair, mode: str, encapsulation: str = "") -> None:
    """Let both nodes encrypt what passes between ``inside`` networks; no capture runs yet."""
    templates = [f"src {src} dst {dst} proto esp mode {mode}" for src, dst in (ends, ends[::-1])]
    states = [
        f"xfrm state add src {src} dst {dst} proto esp spi {spi} mode {mode} {encapsulation} {CIPHER}"
        for spi, (src, dst) in enumerate((ends, ends[::-1]), 256)
    ]
    there, back = (f"src {src} dst {dst}" for src, dst in (inside, inside[::-1]))
    for namespace, ways in ((lab.namespace, ("out", "in")), (lab.node.outside.namespace, ("in", "out"))):
        policies = [(there, ways[0], templates[0]), (back, ways[1], templates[1])]
        forwards = [(what, "fwd", template) for what, way, template in policies if way == "in"]
        lines = [f"xfrm policy add {what} dir {way} tmpl {tmpl}" for what, way, tmpl in (*policies, *forwards)]
        try:
            namespace.ip("\n".join([*states, *lines]))
        except KernelError as error:
            pytest.skip(f"this kernel has no such IPsec: {error}")


@contextmanager
def encapsulating(*namespaces: Namespace) -> Iterator[None]:
    """Let UDP port 4500 take ESP, as a key daemon does."""
    sockets = []
    try:
        for namespace in namespaces:
            with namespace.enter():
                sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sockets[-1].setsockopt(socket.IPPROTO_UDP, UDP_ENCAP, ESP_IN_UDP)
            sockets[-1].bind(("", NAT_T))
        yield
    finally:
        for one in sockets:
            one.close()


@contextmanager
def overlay(setup: Setup, version: int = 4, encapsulation: str = "") -> Iterator[Lab]:
    """Yield a node whose pods reach REMOTE by a tunnel of IPsec."""
    with Lab(setup) as lab:
        other = lab.node.outside
        ends, inside = {
            4: ((lab.node.ip, other.ip), (PODS, f"{REMOTE}/32")),
            6: ((lab.node.ip6, other.ip6), (PODS6, f"{REMOTE6}/128")),
        }[version]
        encrypt(lab, ends, inside, "tunnel", encapsulation)
        other.namespace.ip(f"addr add {REMOTE}/32 dev lo\naddr add {REMOTE6}/128 dev lo nodad")
        client = lab.pod("client")
        client.namespace.ip("link set eth0 mtu 1300")
        lab.namespace.ip(f"link set {client.device} mtu 1300")
        lab.begin()
        yield lab


def check_encrypted(lab: Lab, forward: Directed) -> None:
    """Hold the record of the encrypted packets against the wire."""
    (record,) = [one for one in lab.last() if one.original == forward]
    wire = lab.wires()["outside"]
    assert (record.forward_total, record.reverse_total) == (wire[forward], wire[forward.turned()])
    assert min(record.forward_total.packets, record.reverse_total.packets) > 0


@either
@pytest.mark.parametrize("version", [4, 6])
def test_pod_to_a_pod_by_tunnel_mode(setup: Setup, version: int) -> None:
    with overlay(setup, version) as lab:
        client, remote = lab.pod("client"), lab.node.outside.namespace
        here, there = (client.ip6, REMOTE6) if version == 6 else (client.ip, REMOTE)
        ends = (lab.node.ip6, lab.node.outside.ip6) if version == 6 else (lab.node.ip, lab.node.outside.ip)
        lab.nat.service("fd00:96::10" if version == 6 else SERVICE, "tcp", 80, [(there, 8080)])
        with TcpServer(remote, 8080, there):
            port = talk(client.namespace, (there, 8080), 3000)
            called = talk(client.namespace, ("fd00:96::10" if version == 6 else SERVICE, 80), 2000)
        encrypted = Directed(ends[0], 0, ends[1], 0, ESP)
        seen = tcp(here, called, "fd00:96::10" if version == 6 else SERVICE, 80)
        lab.check(
            Flow(tcp(here, port, there, 8080), dialled="client"),
            Flow(seen, seen._replace(dst=there, dport=8080), Nat.DNAT, "client"),
            Flow(encrypted).goes_on(),
            without=["outside"],
        )
        check_encrypted(lab, encrypted)


@auto
def test_esp_in_udp(setup: Setup) -> None:
    """What a NAT between the nodes needs."""
    with overlay(setup, 4, f"encap espinudp {NAT_T} {NAT_T} 0.0.0.0") as lab:
        client, remote = lab.pod("client"), lab.node.outside
        with encapsulating(lab.namespace, remote.namespace), TcpServer(remote.namespace, 8080, REMOTE):
            port = talk(client.namespace, (REMOTE, 8080), 3000)
        encrypted = Directed(lab.node.ip, NAT_T, remote.ip, NAT_T, UDP)
        flows = Flow(tcp(client.ip, port, REMOTE, 8080), dialled="client"), Flow(encrypted).goes_on()
        lab.check(*flows, without=["outside"])
        check_encrypted(lab, encrypted)


def esp_socket(namespace: Namespace) -> socket.socket:
    with namespace.enter():
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, ESP)


@either
@pytest.mark.parametrize("masquerade", [False, True], ids=["plain", "masquerade"])
def test_esp_of_a_pods_own_is_forwarded_and_counts_once(setup: Setup, masquerade: bool) -> None:
    """The node only passes it on: its pod is the end, with and without NAT by the node."""
    with Lab(setup) as lab:
        client, outside = lab.pod("client"), lab.node.outside
        lab.begin()
        if masquerade:
            lab.nat.masquerade(device="eth0")
        with esp_socket(client.namespace) as sender, esp_socket(outside.namespace):  # who listens refuses nothing
            for _ in range(3):
                sender.sendto(bytes(120), (outside.ip, 0))
        seen = Directed(client.ip, 0, outside.ip, 0, ESP)
        translated, nat = (seen._replace(src=lab.node.ip), Nat.SNAT) if masquerade else (seen, Nat.NONE)
        lab.check(Flow(seen, translated, nat, "client", "outside").silent())


@auto
def test_node_to_outside_by_transport_mode(setup: Setup) -> None:
    """Nothing but ESP passes any device; conntrack saw the connection, and no packet of it told."""
    with Lab(setup) as lab:
        outside = lab.node.outside
        ends = lab.node.ip, outside.ip
        encrypt(lab, ends, ends, "transport")
        lab.begin()
        with TcpServer(outside.namespace, 443):
            port = talk(lab.namespace, (outside.ip, 443), 3000)
        encrypted = Directed(*(ends[0], 0), *(ends[1], 0), ESP)
        lab.check(Flow(encrypted, dialled="outside").goes_on())
        (inner,) = [one for one in entries(lab.namespace) if one.original == tcp(ends[0], port, ends[1], 443)]
        assert min(inner.forward, inner.reverse) > Count(3000, 3)


@auto
def test_nodes_own_call_by_tunnel_mode_shows_its_answers_only(setup: Setup) -> None:
    """They come in once more when they are decrypted; what the node sends is encrypted before any device sees it."""
    with Lab(setup) as lab:
        outside = lab.node.outside
        encrypt(lab, (lab.node.ip, outside.ip), (f"{lab.node.ip}/32", f"{REMOTE}/32"), "tunnel")
        outside.namespace.ip(f"addr add {REMOTE}/32 dev lo")
        lab.begin()
        with TcpServer(outside.namespace, 8080, REMOTE):
            port = talk(lab.namespace, (REMOTE, 8080), 3000)
        seen = tcp(lab.node.ip, port, REMOTE, 8080)
        lab.window(flush=True)
        (record,) = [one for one in lab.last() if one.original == seen]
        (entry,) = [one for one in entries(lab.namespace) if one.original == seen]
        assert (record.forward_total, record.reverse_total) == (Count(), entry.reverse)
        assert entry.forward.octets > 3000 < entry.reverse.octets
        check_encrypted(lab, Directed(lab.node.ip, 0, outside.ip, 0, ESP))
