"""Records wait for their names, no longer than told, and none is lost on the way."""

from itertools import count

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from natlens.flows.connection import CONNECTION
from natlens.identity.waiting import Interval, Waiting

SECOND = 1_000_000_000
TIMES = st.lists(st.integers(0, 10), max_size=20)


NUMBERS = count(1)


def connections(*end_s: int) -> npt.NDArray[np.void]:
    """Return records of as many connections."""
    made = np.zeros(len(end_s), CONNECTION)
    made["flow_id"][:, 0] = [next(NUMBERS) for _ in end_s]
    made["end_ns"] = np.array(end_s, np.int64) * SECOND
    return made


def times(interval: Interval | None) -> list[int]:
    assert interval
    return [int(one) // SECOND for one in interval.connections["end_ns"]]


def test_only_young_packets_wait_and_until_they_are_old_enough() -> None:
    waiting = Waiting()
    at_once = waiting.put(Interval(connections(1, 8, 9, 10), 10 * SECOND), 2 * SECOND, now_ns=100)
    assert times(at_once) == [1, 8]
    assert at_once.end_ns == 10 * SECOND
    assert waiting.next_ns == 100 + 2 * SECOND
    assert waiting.take(99 + 2 * SECOND) is None
    late = waiting.take(100 + 2 * SECOND)
    assert late
    assert times(late) == [9, 10]
    assert late.end_ns == 10 * SECOND
    assert waiting.take() is None
    assert waiting.next_ns is None


def test_the_wait_is_from_the_last_packet_on() -> None:
    waiting = Waiting()
    waiting.put(Interval(connections(1, 9), 10 * SECOND), 2 * SECOND, now_ns=100, every=True)
    assert waiting.next_ns == 100 + SECOND
    assert times(waiting.take(100 + SECOND)) == [1, 9]


def test_what_ends_a_connection_waits_behind_its_earlier_record() -> None:
    waiting = Waiting()
    first, other = connections(10), connections(4)
    waiting.put(Interval(first, 10 * SECOND), 2 * SECOND, now_ns=0)
    last = first.copy()  # without a packet of its own
    at_once = waiting.put(Interval(np.concatenate([last, other]), 13 * SECOND), 2 * SECOND, now_ns=SECOND)
    assert (at_once.connections == other).all()
    assert [times(waiting.take()), times(waiting.take())] == [[10], [10]]


def test_without_a_wait_nothing_waits() -> None:
    waiting = Waiting()
    assert times(waiting.put(Interval(connections(9, 10), 10 * SECOND), 0, 0)) == [9, 10]
    assert waiting.next_ns is None


@given(st.lists(TIMES, max_size=5), st.integers(0, 12))
def test_every_connection_comes_out_once_in_order(intervals: list[list[int]], wait: int) -> None:
    waiting = Waiting()
    came: list[int] = []
    for number, ends in enumerate(intervals):
        came += times(waiting.put(Interval(connections(*ends), 10 * SECOND), wait * SECOND, number))
    late = []
    while interval := waiting.take():
        late += times(interval)
    assert late == [end for ends in intervals for end in ends if end > 10 - wait]
    assert sorted(came + late) == sorted(end for ends in intervals for end in ends)
