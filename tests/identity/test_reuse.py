"""Addresses that are given to another again and again: never a wrong name, whatever the events' delays.

The truth is simulated in ns; the index is told what the API would tell of it, in whole seconds and up to two seconds
late, and what rtnetlink would, at once.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from tests.identity.clusters import S, backend, index, ns, pod, service, slice_of

from natlens.health import Health
from natlens.identity.index import Index
from natlens.identity.objects import Pod

WAIT = 2.0
REUSES = 10_000
CHAINS = 100
SHARE_NAMED = {"bound": 0.95, "pods": 0.8, "slices": 0.7, "service": 0.8}
"""Of answers for lives of 3 s to 10 minutes: what is doubtful is the seconds around a change of hands."""


class Tenant(NamedTuple):
    """Who truly had an address in [begin, end), in seconds of the test's day."""

    name: str
    address: str
    begin: float
    end: float
    way: str
    """How it is known: by its own object, with its interface too, or by slices; or it is a Service."""


Event = tuple[float, int, Callable[[], None]]


class World:
    """Tenants, and what is told of them: each resource in order, everything within WAIT."""

    def __init__(self, of: Index, seed: int) -> None:
        self.of, self.random = of, random.Random(seed)
        self.events: list[Event] = []
        self._last: dict[str, float] = {}

    def tell(self, resource: str, at: float, what: Callable[[float], None]) -> None:
        """Let the index be told of something that happened at a time, later than what was told of that resource."""
        arrival = max(at + self.random.random() ** 3 * WAIT * 0.999, self._last.get(resource, 0.0))
        self._last[resource] = arrival
        self.events.append((arrival, len(self.events), lambda: what(arrival)))


def chain(world: World, number: int, way: str, length: int) -> list[Tenant]:
    """Return tenants of one address, one after the other, at most 50 ms between them."""
    tenants, now = [], 100 + world.random.random() * 10
    for turn in range(length):
        life = world.random.choice([0.05, 0.5, 3, 10, 60, 300]) * (1 + world.random.random())
        end = now + life
        tenants.append(
            Tenant(f"{way}-{number}-{turn}", f"10.{len(way)}.{number // 250}.{number % 250 + 1}", now, end, way)
        )
        now = end + world.random.random() * 0.05
    return tenants


def tell(world: World, one: Tenant) -> list[tuple[float, str, Callable[[float], None]]]:
    """Return what happens to a tenant: when, in which resource, and what the index is told of it."""
    of, chance = world.of, world.random
    if one.way == "service":
        made = service(one.name, one.address, created=one.begin)
        return [
            (one.begin, "services", lambda at: of.put(made, ns(at))),
            (one.end, "services", lambda at: of.delete(made, ns(at))),
        ]
    if one.way == "slices":
        there = slice_of(one.name, backend(one.address, one.name))
        leaving = slice_of(one.name, backend(one.address, one.name, terminating=True))
        asked = one.end - chance.random() * min(2.0, one.end - one.begin)
        return [
            (one.begin, "slices", lambda at: of.put(there, ns(at))),
            (asked, "slices", lambda at: of.put(leaving, ns(at))),
            (one.end, "slices", lambda at: of.put(slice_of(one.name), ns(at))),
            (one.end + 1, "slices", lambda at: of.delete(slice_of(one.name), ns(at))),
        ]
    return list(_tell_pod(world, one))


def _tell_pod(world: World, one: Tenant) -> Iterator[tuple[float, str, Callable[[float], None]]]:
    of, chance = world.of, world.random
    took = max(one.begin - chance.random() * 2, 0)  # the kubelet had it before it had an address
    late = chance.random() < 0.5  # the address is told of when the container runs: only interfaces can make up for that
    started = one.begin + chance.random() * min(0.5, one.end - one.begin) * (not late or one.way == "bound")
    asked = one.end - chance.random() * (one.end - started)
    told_end = chance.random() < 0.7
    known = partial(pod, one.name, begin=took)
    last = partial(known, one.address, started=started, deleted=asked)
    over = last(finished=one.end) if told_end else last()
    steps = [
        (took, known(phase="Pending")),
        (one.begin, known(one.address, phase="Pending")),
        (started, known(one.address, started=started)),
        (asked, last()),
        (one.end, over),
    ]
    if late:
        del steps[1]
    for at, said in steps:
        yield at, f"pod {one.name}", partial(_put, of, said)
    yield one.end, f"pod {one.name}", lambda at: of.delete(over, ns(at))
    if one.way == "bound":
        ifindex = int(one.name.split("-")[1]) * 100_000 + int(one.name.split("-")[2]) + 2
        yield one.begin, "", lambda _: of.bind(one.address, ifindex, ns(one.begin))
        yield one.end, "", lambda _: of.unbind(ifindex, ns(one.end))


class Question(NamedTuple):
    """Who had the tenant's address at a time; asked when all events until then have come."""

    when: float
    tenant: Tenant
    at: float
    counts: bool
    """It is at any time of a life of 3 s or more, not on purpose at its ends."""


def _put(of: Index, said: Pod, at: float) -> None:
    of.put(said, ns(at))


def questions(world: World, tenants: list[Tenant]) -> Iterator[Question]:
    """Yield questions: at both ends of each life, and anywhere within."""
    for one in tenants:
        life = one.end - one.begin
        for part in (0.0, 0.001, 0.999, world.random.random(), world.random.random()):
            at = one.begin + part * life
            yield Question(at + WAIT, one, at, life >= 3 and part not in {0.0, 0.001, 0.999})


def test_ten_thousand_reuses_and_no_wrong_name() -> None:
    of = index(Health(), wait_ns=int(WAIT * S))
    world = World(of, seed=1)
    ways = ["bound", "pods", "slices", "service"]
    chains = [chain(world, number, ways[number % 4], REUSES // CHAINS + 1) for number in range(CHAINS)]
    happenings = [each for tenants in chains for one in tenants for each in tell(world, one)]
    for at, resource, what in sorted(happenings, key=lambda each: each[0]):
        if resource:
            world.tell(resource, at, what)
        else:
            world.events.append((at, len(world.events), partial(what, at)))
    found = ask(world, [question for tenants in chains for question in questions(world, tenants)])
    assert not found["wrong"]
    named = {way: found[way, "named"] / found[way, "asked"] for way in ways}
    assert all(share > SHARE_NAMED[way] for way, share in named.items()), named
    assert of.remembered < 5000


def ask(world: World, asked: list[Question]) -> Counter[object]:
    """Let everything happen in its order, and ask; return how many answers were wrong, and of which ways were named."""
    found: Counter[object] = Counter()
    heapq.heapify(world.events)
    purged = 0.0
    for when, tenant, at, counts in sorted(asked):
        while world.events and world.events[0][0] <= when:
            heapq.heappop(world.events)[2]()
        if when > purged + 5:
            world.of.purge(ns(when))
            purged = when
        endpoint = world.of.endpoint(tenant.address, 0, 6, ns(at))
        name = endpoint.k8s_pod_name or endpoint.k8s_service_name
        found["wrong"] += name not in {None, tenant.name}
        found[tenant.way, "asked"] += counts
        found[tenant.way, "named"] += counts and name is not None
    return found
