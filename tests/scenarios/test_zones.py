"""Two tenants with the same addresses: conntrack keeps them apart by zone, and so must the records."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from natlens.ui.lab.traffic import TcpServer, UdpServer, dial, exchange
from tests.scenarios.addresses import SERVICE, say, tcp, udp
from tests.scenarios.conftest import CLSACT, TCX
from tests.scenarios.harness import Flow, Lab, Nat, State

CLIENT, BACKEND = "10.50.0.2", "10.60.0.2"
PORT = 40000
TENANTS = 1, 2
Tenants = tuple[Lab, dict[int, int]]


def attach(lab: Lab, name: str, address: str, gateway: str) -> None:
    """Add a namespace whose address another one has too."""
    namespace = lab.node.make_namespace(name)
    lab.namespace.ip(f"link add {name} type veth peer name eth0 netns {namespace.name}")
    lab.node.disable_offloads(lab.namespace, name)
    lab.node.disable_offloads(namespace, "eth0")
    lab.namespace.ip(f"addr add {gateway}/32 dev {name}\nlink set {name} up")
    namespace.ip(f"addr add {address}/24 dev eth0\nlink set eth0 up\nroute add default via {gateway}")
    lab.wire.tap(name, namespace)
    lab.namespaces[name] = namespace


def move_in(lab: Lab, number: int, address: str = CLIENT) -> tuple[str, str]:
    """Give a tenant a client and a backend that nobody else sees; returns their names."""
    client, backend, table = f"client{number}", f"backend{number}", 100 + number
    attach(lab, client, address, "10.50.0.1")
    attach(lab, backend, BACKEND, "10.60.0.1")
    lab.namespace.ip(f"""
        route add {address}/32 dev {client} table {table}
        route add {BACKEND}/32 dev {backend} table {table}
        rule add iif {client} lookup {table}
        rule add iif {backend} lookup {table}
    """)
    return client, backend


@pytest.fixture(
    params=[(TCX, 1, 2), (CLSACT, 1, 2), (TCX, 0, 5), (CLSACT, 5, 0)], ids=lambda of: "-".join(map(str, of))
)
def tenants(request: pytest.FixtureRequest) -> Iterator[Tenants]:
    """Yield the node, and which tenant is in which zone; a look-up by address finds what is in zone 0."""
    setup, *chosen = request.param
    zones = dict(zip(TENANTS, chosen, strict=True))
    with Lab(setup) as lab:
        for number in TENANTS:
            move_in(lab, number)
        lab.begin()
        lab.node.nft(
            "add table ip zones\n"
            "add chain ip zones raw { type filter hook prerouting priority -300; }\n"
            + "".join(
                f"add rule ip zones raw iifname {{ client{n}, backend{n} }} ct zone set {zone}\n"
                for n, zone in zones.items()
                if zone
            )
        )
        lab.nat.service(SERVICE, "tcp", 80, [(BACKEND, 8080)])
        lab.nat.service(SERVICE, "udp", 53, [(BACKEND, 5353)])
        yield lab, zones


def test_two_zones_reuse_one_tuple_at_once(tenants: Tenants) -> None:
    lab, zones = tenants
    lab.not_by_events("tenants are told apart by their interfaces")
    servers = [TcpServer(lab.namespaces[f"backend{number}"], 8080) for number in TENANTS]
    streams = [dial(lab.namespaces[f"client{number}"], (SERVICE, 80), port=PORT) for number in TENANTS]
    for octets in (100, 1000):
        for number, stream in zip(TENANTS, streams, strict=True):
            exchange(stream, number * octets)
    for stream in streams:
        stream.close()
    for server in servers:
        server.close()
    seen = tcp(CLIENT, PORT, SERVICE, 80), tcp(CLIENT, PORT, BACKEND, 8080)
    lab.check(*(Flow(*seen, Nat.DNAT, f"client{n}", f"backend{n}", zone=zone) for n, zone in zones.items()))


def test_two_zones_reuse_one_tuple_of_udp_and_over_windows(tenants: Tenants) -> None:
    lab, zones = tenants
    lab.not_by_events("tenants are told apart by their interfaces")
    for _ in range(2):
        for number in TENANTS:
            with UdpServer(lab.namespaces[f"backend{number}"], 5353):
                say(lab.namespaces[f"client{number}"], (SERVICE, 53), number, 100, port=PORT)
        lab.window()
    seen = udp(CLIENT, PORT, SERVICE, 53), udp(CLIENT, PORT, BACKEND, 5353)
    flows = [Flow(*seen, Nat.DNAT, f"client{n}", f"backend{n}", zone=zone) for n, zone in zones.items()]
    lab.check(*(replace(flow.goes_on(), state=State.OPEN) for flow in flows))
