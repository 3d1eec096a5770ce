"""Streams: births, ends, overflow, restarts; whatever happens, stores can add up what they are told."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natlens.identity.endpoint import Endpoint
from natlens.identity.ends import End, Ends
from natlens.otlp.metrics.collection import OVERFLOW, Attributes, Collection, Exponential
from natlens.otlp.metrics.series import Metrics, streams
from tests.otlp.batches import batch_of, connection
from tests.otlp.metrics.calls import CALLS, SECOND, Call, calls, settings
from tests.otlp.metrics.store import Store

Temporality = Literal["cumulative", "delta"]
MILLISECOND = 1_000_000
BEGAN = 1_790_000_000 * SECOND


class Collect(NamedTuple):
    """So long after the last time (ns); a clock may go back."""

    after_ns: int


class Restart(NamedTuple):
    """The agent ends, telling what it has, and begins anew."""


STEPS = st.lists(
    CALLS
    | st.builds(Collect, st.sampled_from([SECOND, 2 * SECOND, 7 * SECOND, 0, 1, -60 * SECOND]))
    | st.builds(Restart),
    max_size=20,
)


def added(made: Sequence[Call]) -> Counter[tuple[str, str | None]]:
    """Return what stores shall be told in all, by metric and direction."""
    total = Counter[tuple[str, str | None]]()
    for call in made:
        for place, at in enumerate((("flow.io", "forward"), ("flow.packet.count", "forward"))):
            total[at] += call.amounts[place]
        for place, at in enumerate((("flow.io", "reverse"), ("flow.packet.count", "reverse")), 2):
            total[at] += call.amounts[place]
        total["flow.connection.count", None] += call.first
        total["flow.duration", None] += call.lasted is not None
    return total


def undirected(counted: Counter[tuple[str, str | None]]) -> dict[str, int]:
    total = Counter[str]()
    for (metric, _), value in counted.items():
        total[metric] += value
    return {metric: value for metric, value in total.items() if value}


@given(
    STEPS,
    st.sampled_from(["cumulative", "delta"]),
    st.sampled_from(["explicit", "exponential"]),
    st.sampled_from([6, 24, 60, 1000]),
)
def test_any_sequence_gives_streams_that_add_up(
    steps: list[list[Call] | Collect | Restart], temporality: Temporality, histogram: str, limit: int
) -> None:
    one = settings(temporality=temporality, histogram=histogram, series_limit=limit, expiry_ns=5 * SECOND)
    store, now, everything = Store(limit), BEGAN, list[Call]()
    metrics, told = Metrics(one, now), now

    def collect(after_ns: int) -> None:
        nonlocal now, told
        now += after_ns
        if collection := metrics.collect(now):
            assert collection.temporality == temporality
            store.take(collection)
            told = collection.time_ns

    for step in steps:
        match step:
            case Collect(after_ns):
                collect(after_ns)
            case Restart():
                collect(1)
                now = max(now, told) + 2 * MILLISECOND
                metrics = Metrics(one, now)
            case made:
                everything += made
                metrics.add(calls(made))
    collect(SECOND)
    expected = added(everything)
    assert undirected(store.increase) == undirected(expected)
    if limit == 1000:
        assert +store.increase == +expected


def points(of: Collection | None, metric: str, direction: str | None) -> dict[str, int]:
    """Return the values of one metric by backend, the overflow series as ``over``."""
    if of is None:
        return {}
    found = [one for one in of.sums if one.metric.name == metric and one.direction == direction]
    return {
        backend(of.series[row]): value
        for one in found
        for row, value in zip(one.rows.tolist(), one.values.tolist(), strict=True)
    }


def backend(series: Attributes) -> str:
    return "over" if series == OVERFLOW else str(series[-1][1])


def starts(of: Collection | None) -> dict[str, tuple[int, bool]]:
    """Return by backend since when (s after the beginning), and whether it begins here."""
    assert of
    each = zip(of.series, ((of.start_ns - BEGAN) // SECOND).tolist(), of.born.tolist(), strict=True)
    return {backend(series): (start, born) for series, start, born in each}


def test_a_series_begins_where_the_collection_before_ended() -> None:
    metrics = Metrics(settings(), BEGAN)
    metrics.add(calls([Call(backend=1)]))
    assert starts(metrics.collect(BEGAN + 10 * SECOND)) == {"pod-1": (0, True)}
    metrics.add(calls([Call(backend=2)]))
    assert starts(metrics.collect(BEGAN + 20 * SECOND)) == {"pod-1": (0, False), "pod-2": (10, True)}
    assert starts(metrics.collect(BEGAN + 30 * SECOND)) == {"pod-1": (0, False), "pod-2": (10, False)}


def test_the_first_collection_of_nothing_still_ends_an_interval() -> None:
    metrics = Metrics(settings(), BEGAN)
    assert metrics.collect(BEGAN + 10 * SECOND) is None
    metrics.add(calls([Call(backend=1)]))
    assert starts(metrics.collect(BEGAN + 20 * SECOND)) == {"pod-1": (10, True)}


def test_a_silent_series_ends_and_comes_back_from_0() -> None:
    metrics = Metrics(settings(expiry_ns=20 * SECOND), BEGAN)
    metrics.add(calls([Call(backend=1), Call(backend=2)]))
    metrics.collect(BEGAN + 10 * SECOND)
    metrics.add(calls([Call(backend=2)]))
    assert points(metrics.collect(BEGAN + 20 * SECOND), "flow.io", "forward") == {"pod-1": 10, "pod-2": 20}
    assert points(metrics.collect(BEGAN + 30 * SECOND), "flow.io", "forward") == {"pod-2": 20}
    assert metrics.live == 1
    metrics.add(calls([Call(backend=1)]))
    back = metrics.collect(BEGAN + 35 * SECOND)
    assert points(back, "flow.io", "forward") == {"pod-1": 10, "pod-2": 20}
    assert starts(back) == {"pod-1": (30, True), "pod-2": (0, False)}


def test_the_clock_may_go_back_but_points_do_not() -> None:
    metrics = Metrics(settings(), BEGAN)
    metrics.add(calls([Call()]))
    times = [metrics.collect(BEGAN + after) for after in (-SECOND, 0, 10, 5 * SECOND, SECOND)]
    told = [one.time_ns - BEGAN for one in times if one]
    assert told == [1_000_000, 2_000_000, 3_000_000, 5 * SECOND, 5 * SECOND + 1_000_000]


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_what_is_over_the_limit_is_one_series_without_direction(temporality: str) -> None:
    metrics = Metrics(settings(series_limit=3 * streams() + 5, temporality=temporality), BEGAN)
    late = [Call(backend=number, start_ns=10 - number, lasted=1.0) for number in range(5)]
    metrics.add(calls(late))
    collection = metrics.collect(BEGAN + SECOND)
    assert points(collection, "flow.io", "forward") == {"pod-4": 10, "pod-3": 10}
    assert points(collection, "flow.io", "reverse") == {"pod-4": 100, "pod-3": 100}
    assert points(collection, "flow.io", None) == {"over": 330}
    assert points(collection, "flow.packet.count", None) == {"over": 9}
    assert points(collection, "flow.connection.count", None) == {"over": 3, "pod-3": 1, "pod-4": 1}
    assert collection
    (recorded,) = collection.histograms
    assert dict(zip(map(backend, collection.series), recorded.observations.tolist(), strict=True))["over"] == 3
    assert (metrics.added, metrics.overflowed, metrics.live) == (5, 3, 3)


def test_in_one_batch_the_earliest_get_in_then_the_first_by_name() -> None:
    made = [Call(1, 1, start_ns=5), Call(0, 3, start_ns=5), Call(0, 2, start_ns=5), Call(2, 0, start_ns=9)]
    again = [*made, Call(2, 0, start_ns=1)]
    for order in (again, again[::-1], again[2:] + again[:2]):
        metrics = Metrics(settings(series_limit=3 * streams()), BEGAN)
        metrics.add(calls(order))
        collection = metrics.collect(BEGAN + SECOND)
        assert set(points(collection, "flow.io", "forward")) == {"pod-0", "pod-2"}


def test_it_gets_a_series_of_its_own_when_there_is_room_again() -> None:
    metrics = Metrics(settings(series_limit=2 * streams(), expiry_ns=20 * SECOND), BEGAN)
    metrics.add(calls([Call(backend=1)]))
    metrics.add(calls([Call(backend=2)]))
    metrics.collect(BEGAN + 10 * SECOND)
    metrics.add(calls([Call(backend=2)]))
    metrics.collect(BEGAN + 30 * SECOND)  # pod-1 has ended
    metrics.add(calls([Call(backend=2, amounts=(7, 0, 0, 0))]))
    collection = metrics.collect(BEGAN + 40 * SECOND)
    assert points(collection, "flow.io", "forward") == {"pod-2": 7}
    assert points(collection, "flow.io", None) == {"over": 220}
    assert starts(collection) == {"over": (0, False), "pod-2": (30, True)}


def test_delta_tells_of_every_series_what_was_since() -> None:
    metrics = Metrics(settings(temporality="delta", expiry_ns=15 * SECOND), BEGAN)
    metrics.add(calls([Call(backend=1, lasted=1.0), Call(backend=2)]))
    first = metrics.collect(BEGAN + 10 * SECOND)
    assert points(first, "flow.io", "forward") == {"pod-1": 10, "pod-2": 10}
    assert first
    assert starts(first) == {"pod-1": (0, True), "pod-2": (0, True)}
    assert [one.observations.tolist() for one in first.histograms] == [[1, 0]]
    metrics.add(calls([Call(backend=2)]))
    second = metrics.collect(BEGAN + 20 * SECOND)
    assert points(second, "flow.io", "forward") == {"pod-1": 0, "pod-2": 10}
    assert starts(second) == {"pod-1": (10, False), "pod-2": (10, False)}
    third = metrics.collect(BEGAN + 30 * SECOND)  # pod-1 has ended
    assert points(third, "flow.io", "forward") == {"pod-2": 0}


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_a_series_has_the_same_tuple_in_every_collection(temporality: str) -> None:
    metrics = Metrics(settings(temporality=temporality), BEGAN)
    told: list[Attributes] = []
    for after in (1, 2, 3):
        metrics.add(calls([Call()]))
        collection = metrics.collect(BEGAN + after * SECOND)
        assert collection
        told += collection.series
    assert told[0] is told[1] is told[2]


def test_100_000_endpoints_stay_within_the_limit() -> None:
    n, limit = 25_000, 3000
    metrics, store = Metrics(settings(series_limit=limit, histogram="exponential"), BEGAN), Store(limit)
    rows = np.repeat(connection(sequence=0), n)
    for turn in range(4):
        each = [End(str(at), Endpoint(k8s_pod_name=f"pod-{turn}-{at}")) for at in range(n)]
        ends, none = Ends(np.arange(n), [*each, None]), Ends(np.full(n, -1), [None])
        of = batch_of()
        metrics.add(
            type(of)(rows, ends, none, none, none, of.interface_names, of.interval_end_ns, of.observed_ns, None)
        )
        collection = metrics.collect(BEGAN + (turn + 1) * SECOND)
        assert collection
        store.take(collection)
        (recorded,) = collection.histograms
        assert isinstance(recorded.buckets, Exponential)
    assert metrics.live == limit // streams()
    assert store.increase["flow.connection.count", None] == 4 * n == metrics.added
    assert metrics.overflowed == 4 * n - (limit // streams() - 1)
