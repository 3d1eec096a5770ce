"""Two tenants with the same addresses in two zones: a look-up may find the twin, so it is not believed there."""

import pytest

from natlens.ui.lab.traffic import TcpServer, UdpServer, talk
from tests.scenarios.addresses import SERVICE, say
from tests.scenarios.conftest import TCX
from tests.scenarios.harness import Lab
from tests.scenarios.test_zones import BACKEND, move_in

CLIENTS = {1: "10.50.0.2", 2: "10.50.0.3"}


@pytest.mark.parametrize("zones", [(0, 5), (1, 2)])
def test_answers_that_are_those_of_two_calls(zones: tuple[int, int]) -> None:
    """Both tenants' pods answer the same masqueraded address: REPLY is one, ORIGINAL are two."""
    with Lab(TCX, capture_rules=[f"reject source.cidr={CLIENTS[1]}"]) as lab:
        rules = ""
        for (number, address), zone in zip(CLIENTS.items(), zones, strict=True):
            client, backend = move_in(lab, number, address)
            if zone:
                rules += f"add rule ip zones raw iifname {{ {client}, {backend} }} ct zone set {zone}\n"
        lab.begin()
        lab.not_by_events("two calls whose REPLY is one are told apart by their interfaces")
        lab.node.nft(
            "add table ip zones\nadd chain ip zones raw { type filter hook prerouting priority -300; }\n"
            + rules
            + "add chain ip zones post { type nat hook postrouting priority 100; }\n"
            + f"add rule ip zones post ip daddr {BACKEND} snat to 10.60.0.1\n"
        )
        lab.nat.service(SERVICE, "tcp", 80, [(BACKEND, 8080)])
        lab.nat.service(SERVICE, "udp", 53, [(BACKEND, 5353)])
        both = [lab.namespaces[f"backend{number}"] for number in CLIENTS]
        with TcpServer(both[0], 8080), TcpServer(both[1], 8080), UdpServer(both[0], 5353), UdpServer(both[1], 5353):
            for number in (1, 2, 1, 2):
                for port in range(40000, 40004):
                    talk(lab.namespaces[f"client{number}"], (SERVICE, 80), 500, port=port + 10 * (number == 2))
                    say(lab.namespaces[f"client{number}"], (SERVICE, 53), 2, port=port)
        lab.window()
        lab.window()
        seen = {one: count for one, count in lab.wires()["client2"].items() if one.src == CLIENTS[2]}
        found = {record.original: record for record in lab.last()}
        assert found.keys() == seen.keys()
        for one, record in found.items():
            if one.proto == 17:
                assert (record.forward_total, record.reverse_total) == (seen[one], lab.wires()["client2"][one.turned()])
