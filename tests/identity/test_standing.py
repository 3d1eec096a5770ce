"""Whose record counts: the same connection as every node sees it, and exactly one of them says it is the one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natlens.flows.connection import CONNECTION, EndReason, Nat
from natlens.identity.endpoint import UNKNOWN
from natlens.identity.ends import End, Ends
from natlens.identity.standing import Place, Reporter, Standings, Vicinity

UPLINK, SECOND, POD = 2, 3, 9
OUTSIDE, OUTSIDE_TOO, SERVICE = "203.0.113.1", "203.0.113.2", "10.96.0.1"
NEAR, ALL = "169.254.7.7", "224.0.0.251"


class Sight(NamedTuple):
    """A connection as one node has it: addresses as dialled and after translation."""

    node: int
    source: str
    destination: str
    source_nat: str = ""
    destination_nat: str = ""
    came_in: int = UPLINK


def host(node: int) -> str:
    return f"192.0.2.{node}"


def pod(node: int, number: int = 2) -> str:
    return f"10.244.{node}.{number}"


def node_of(address: str) -> int | None:
    first, second, third, last = map(int, address.split("."))
    return {(192, 0): last, (10, 244): third}.get((first, second))


@dataclass(frozen=True)
class World:
    """Which nodes run an agent."""

    agents: frozenset[int]

    def place(self, node: int) -> Callable[[End], Place]:
        def of(end: End) -> Place:
            at = node if end.address == SERVICE else node_of(end.address)
            if at is None:
                return Place.NEARBY if end.address in (NEAR, ALL) else Place.OUTSIDE
            return Place.HERE if at == node else Place.AGENT if at in self.agents else Place.BARE

        return of

    def standing(self, sight: Sight) -> tuple[Reporter, bool]:
        vicinity = Vicinity(self.place(sight.node), frozenset({POD}), frozenset({UPLINK}))
        found = Standings().of(*columns([sight]), vicinity)
        return Reporter(found.reporter[0]), bool(found.primary[0])

    def primaries(self, sights: Sequence[Sight]) -> list[int]:
        return [sight.node for sight in sights if sight.node in self.agents and self.standing(sight)[1]]


def ends_of(addresses: Sequence[str]) -> Ends:
    each = [End(address, UNKNOWN) for address in addresses if address]
    codes = np.cumsum([bool(address) for address in addresses]) - 1
    return Ends(np.where([bool(address) for address in addresses], codes, -1), [*each, None])


def columns(sights: Sequence[Sight]) -> tuple[npt.NDArray[np.void], tuple[Ends, Ends, Ends, Ends]]:
    rows = np.zeros(len(sights), CONNECTION)
    rows["flow_id"][:, 0] = np.arange(len(sights))
    rows["end_reason"] = EndReason.ACTIVE_TIMEOUT
    rows["ifindex"] = [sight.came_in for sight in sights]
    rows["nat"] = [bool(one.destination_nat) * Nat.DNAT + bool(one.source_nat) * Nat.SNAT for one in sights]
    source, destination, source_nat, destination_nat = (ends_of(part) for part in list(zip(*sights, strict=True))[1:5])
    return rows, (source, destination, source_nat, destination_nat)


EVERYWHERE = World(frozenset({1, 2, 3}))


@pytest.mark.parametrize(
    ("what", "sight", "reporter", "primary"),
    [
        ("pod to pod here", Sight(1, pod(1), pod(1, 3), came_in=POD), Reporter.BOTH, True),
        ("pod to pod there", Sight(1, pod(1), pod(2), came_in=POD), Reporter.SOURCE, True),
        ("pod from pod there", Sight(2, pod(1), pod(2)), Reporter.DESTINATION, False),
        ("pod to Service there", Sight(1, pod(1), SERVICE, "", pod(2), POD), Reporter.SOURCE, True),
        ("hairpin", Sight(1, pod(1), SERVICE, host(1), pod(1), POD), Reporter.BOTH, True),
        ("Service without endpoints", Sight(1, pod(1), SERVICE, came_in=POD), Reporter.BOTH, True),
        ("NodePort, backend there", Sight(1, OUTSIDE, host(1), host(1), pod(2)), Reporter.TRANSIT, True),
        ("NodePort, the backend's side", Sight(2, host(1), pod(2)), Reporter.DESTINATION, False),
        ("NodePort, backend here", Sight(1, OUTSIDE, host(1), host(1), pod(1)), Reporter.DESTINATION, True),
        ("NodePort, policy Local", Sight(1, OUTSIDE, host(1), "", pod(1)), Reporter.DESTINATION, True),
        ("masqueraded to a tunnel's address", Sight(2, "10.244.1.0", pod(2)), Reporter.DESTINATION, False),
        ("pod to outside", Sight(1, pod(1), OUTSIDE, host(1), came_in=POD), Reporter.SOURCE, True),
        ("its egress gateway", Sight(2, pod(1), OUTSIDE, host(2)), Reporter.TRANSIT, False),
        ("host to pod there", Sight(1, host(1), pod(2), came_in=UPLINK), Reporter.SOURCE, True),
        ("a load balancer's packet passes", Sight(1, OUTSIDE, OUTSIDE_TOO, came_in=SECOND), Reporter.TRANSIT, True),
        ("and comes by the link between nodes", Sight(2, OUTSIDE, OUTSIDE_TOO), Reporter.TRANSIT, False),
        ("a pod of an unknown range", Sight(1, "172.31.0.9", OUTSIDE, came_in=POD), Reporter.SOURCE, True),
        ("first seen by its answer", Sight(1, OUTSIDE, host(1), "", pod(1), POD), Reporter.DESTINATION, True),
        ("a router to all hosts", Sight(1, OUTSIDE, ALL, came_in=SECOND), Reporter.TRANSIT, False),
        ("a pod to all hosts", Sight(1, pod(1), ALL, came_in=POD), Reporter.SOURCE, True),
        ("a pod's neighbour discovery", Sight(1, NEAR, ALL, came_in=POD), Reporter.SOURCE, True),
        ("a neighbour's", Sight(1, NEAR, host(1)), Reporter.DESTINATION, False),
        ("external backend, masqueraded", Sight(1, OUTSIDE, host(1), host(1), OUTSIDE_TOO), Reporter.TRANSIT, True),
    ],
)
def test_each_case(what: str, sight: Sight, reporter: Reporter, primary: bool) -> None:
    assert EVERYWHERE.standing(sight) == (reporter, primary), what


def _from_inside(client: str, at: int, backend: int, way: str, entry: int) -> list[Sight]:
    came_in = POD if client == pod(at) else UPLINK
    answering = [Sight(backend, client, pod(backend, 7))] if backend != at else []
    match way:
        case "direct":
            return [Sight(at, client, pod(backend, 7), came_in=came_in), *answering]
        case "service":
            return [Sight(at, client, SERVICE, "", pod(backend, 7), came_in), *answering]
        case "outside":
            gateway = [Sight(entry, client, OUTSIDE, host(entry))] if entry != at else []
            own = "" if gateway else host(at)
            return [Sight(at, client, OUTSIDE, own, came_in=came_in), *gateway]
    sights = [Sight(at, client, host(entry), came_in=came_in)] if entry != at else []
    through = Sight(entry, client, host(entry), host(entry), pod(backend, 7), UPLINK if entry != at else came_in)
    far = [Sight(backend, host(entry), pod(backend, 7))] if backend != entry else []
    return [*sights, through, *far]


def _from_outside(backend: int, entry: int, way: str) -> list[Sight]:
    if way == "local":
        return [Sight(entry, OUTSIDE, host(entry), "", pod(entry, 7))]
    if way == "routed":
        return [
            Sight(entry, OUTSIDE, pod(backend, 7)),
            *([Sight(backend, OUTSIDE, pod(backend, 7))][: backend != entry]),
        ]
    far = [Sight(backend, host(entry), pod(backend, 7))] if backend != entry else []
    return [Sight(entry, OUTSIDE, host(entry), host(entry), pod(backend, 7)), *far]


NODES = st.integers(1, 4)


@given(NODES, NODES, NODES, st.sampled_from(["direct", "service", "outside", "nodeport"]), st.booleans(), st.data())
def test_one_node_counts_a_call_from_inside(
    at: int, backend: int, entry: int, way: str, from_host: bool, data: st.DataObject
) -> None:
    sights = _from_inside(host(at) if from_host else pod(at), at, backend, way, entry)
    agents = data.draw(st.frozensets(st.sampled_from([sight.node for sight in sights]), min_size=1))
    if way == "nodeport" and at in agents:
        agents |= {entry}  # else the backend's node takes the translator, which runs no agent, for the initiator
    primaries = World(agents).primaries(sights)
    if way == "outside" and at not in agents:
        assert primaries == [entry]
    else:
        assert primaries == [at] if at in agents else len(primaries) == 1


@given(NODES, NODES, st.sampled_from(["local", "routed", "nodeport"]), st.data())
def test_one_node_counts_a_call_from_outside(backend: int, entry: int, way: str, data: st.DataObject) -> None:
    sights = _from_outside(backend, entry, way)
    answers = sights[-1].node
    agents = data.draw(
        st.frozensets(st.sampled_from([sight.node for sight in sights])).map(lambda one: one | {answers})
    )
    assert len(World(agents).primaries(sights)) == 1


def test_it_stays_what_the_first_record_said_until_the_flow_ends() -> None:
    rows, ends = columns([Sight(1, pod(1), pod(2), came_in=POD), Sight(1, pod(2), pod(1))])
    standings = Standings()
    here = Vicinity(EVERYWHERE.place(1), frozenset({POD}), frozenset({UPLINK}))
    elsewhere = Vicinity(EVERYWHERE.place(3), frozenset(), frozenset({UPLINK}))
    first = standings.of(rows, ends, here)
    assert first.primary.tolist() == [True, False]
    for _ in range(2):
        again = standings.of(rows, ends, elsewhere)
        assert (again.reporter.tolist(), again.primary.tolist()) == (first.reporter.tolist(), first.primary.tolist())
        standings.of(rows[:0], tuple(one.take(np.zeros(0, np.intp)) for one in ends), elsewhere)  # type: ignore[arg-type]
    rows["end_reason"] = EndReason.END_OF_FLOW_DETECTED
    assert standings.of(rows, ends, elsewhere).primary.tolist() == [True, False]
    assert standings.of(rows, ends, elsewhere).primary.tolist() == [False, False]


def test_what_goes_on_is_not_looked_at_again() -> None:
    rows, ends = columns([Sight(1, pod(1), pod(2), came_in=POD)])
    standings = Standings()
    standings.of(rows, ends, Vicinity(EVERYWHERE.place(1)))

    def never(end: End) -> Place:
        raise AssertionError(end)

    assert standings.of(rows, ends, Vicinity(never)).primary.tolist() == [True]


@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.booleans()), max_size=8), max_size=8))
def test_many_flows_are_remembered_as_a_dictionary_would(windows: list[list[tuple[int, bool, bool]]]) -> None:
    standings = Standings()
    said: dict[int, bool] = {}
    for window in windows:
        records = {flow: (here, goes_on) for flow, here, goes_on in window}
        if not records:
            continue
        rows, ends = columns([Sight(1, pod(1) if here else pod(2), OUTSIDE) for here, _ in records.values()])
        rows["flow_id"][:, 0] = list(records)
        rows["end_reason"] = [
            EndReason.ACTIVE_TIMEOUT if more else EndReason.IDLE_TIMEOUT for _, more in records.values()
        ]
        expected = [said.get(flow, here) for flow, (here, _) in records.items()]
        found = standings.of(rows, ends, Vicinity(EVERYWHERE.place(1)))
        assert found.primary.tolist() == expected
        for (flow, (_, more)), primary in zip(records.items(), expected, strict=True):
            said[flow] = primary
            if not more:
                del said[flow]


def test_each_different_end_of_a_role_is_looked_at_once() -> None:
    asked: list[End] = []

    def place(end: End) -> Place:
        asked.append(end)
        return Place.OUTSIDE

    rows, _ = columns([Sight(1, OUTSIDE, OUTSIDE_TOO)] * 1000)
    same = Ends(np.zeros(1000, np.intp), [End(str(ip_address(1)), UNKNOWN), None])
    none = Ends(np.full(1000, -1, np.intp), [None])
    Standings().of(rows, (same, same, none, none), Vicinity(place))
    assert len(asked) == 2
