"""Thousands of connections through a Service, one of eight sampled: whole, their sums within the statistical bound."""

from collections import defaultdict

import numpy as np

from natlens.ui.lab.packets import Directed
from natlens.ui.lab.traffic import UdpServer
from natlens.ui.lab.wire import Count
from tests.scenarios.addresses import SERVICE, say
from tests.scenarios.conftest import TCX
from tests.scenarios.harness import Lab, Nat

RATE, CONNECTIONS, ROUNDS = 8, 3000, 2


def test_sums_of_thousands_of_connections() -> None:
    with Lab(TCX, sampling=RATE) as lab:
        client, backend = lab.pod("client"), lab.pod("b1")
        lab.begin()
        lab.nat.service(SERVICE, "udp", 53, [(backend.ip, 5353)])
        sizes = np.random.default_rng(8).pareto(2.5, CONNECTIONS).clip(0, 10) * 100 + 1
        with UdpServer(backend.namespace, 5353):
            for _ in range(ROUNDS):
                for number, size in enumerate(sizes.astype(int).tolist()):
                    say(client.namespace, (SERVICE, 53), 1, size, port=10000 + number)
                lab.window()
        lab.window()
        truth = {
            one: count + lab.wires()["client"][one.turned()]
            for one, count in lab.wires()["client"].items()
            if one.dport == 53
        }
        found: defaultdict[Directed, Count] = defaultdict(Count)
        for record in lab.records:
            assert record.nat == Nat.DNAT
            assert record.translated == record.original._replace(dst=backend.ip, dport=5353)
            found[record.original] += record.forward + record.reverse
        assert len(truth) == CONNECTIONS
        assert dict(found) == {one: truth[one] for one in found}  # each of them whole
        every, some = (np.array([[count.octets, count.packets, 1] for count in of.values()]) for of in (truth, found))
        bound = 5 * np.sqrt((RATE - 1) * np.square(every.astype(float)).sum(axis=0))
        assert (abs(some.sum(axis=0) * RATE - every.sum(axis=0)) < bound).all()
        left_out = [lab.health.count(f"sampled_out_{what}") for what in ("octets", "packets")]
        both = [whole - part for whole, part in zip(every.sum(axis=0)[:2], some.sum(axis=0)[:2], strict=True)]
        assert all(0 <= counted - missing <= 5000 for counted, missing in zip(left_out, both, strict=True))  # chatter
        assert lab.lost() == {}
