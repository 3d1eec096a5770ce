"""When to try again, without a network or a clock."""

import pytest

from natlens.delivery.retry import Backoff
from natlens.delivery.schedule import Schedule
from natlens.delivery.throttle import Throttle


class Doubling(Backoff):
    """1, 2, 4 … without jitter."""

    def delay(self, attempt: int, after_s: float | None = None) -> float:
        return after_s or 2.0**attempt


@pytest.mark.parametrize("attempt", [0, 1, 2, 3, 10, 10_000])
def test_backoff_grows_to_its_limit_with_jitter(attempt: int) -> None:
    longest = min(30.0, 2.0**attempt) if attempt < 100 else 30.0
    delays = {Backoff().delay(attempt) for _ in range(50)}
    assert all(longest / 2 <= delay <= longest for delay in delays)
    assert len(delays) > 1


def test_the_servers_delay_wins_unless_it_is_0_or_absurd() -> None:
    assert Backoff().delay(0, 7.5) == 7.5
    assert Backoff().delay(0, 1e9) == 600
    assert Backoff().delay(0, 0.0) >= 0.5


def test_a_healthy_receiver_gets_several_at_once() -> None:
    schedule = Schedule(Doubling(), 4)
    assert [schedule.room(0, running) for running in range(5)] == [4, 3, 2, 1, 0]
    assert schedule.wait_s(0) is None


def test_after_a_failure_all_wait_and_one_probes_once_nothing_runs() -> None:
    schedule = Schedule(Doubling(), 4)
    schedule.failed(10, None)
    assert (schedule.room(10.9, 0), schedule.wait_s(10.25)) == (0, 0.75)
    assert schedule.room(11, 3) == 0  # the burst's others are still on their way
    assert schedule.room(11, 0) == 1
    schedule.started()
    assert (schedule.room(11, 1), schedule.wait_s(11)) == (0, None)
    schedule.answered()
    assert schedule.room(11, 0) == 4


def test_probes_that_fail_come_less_and_less_often() -> None:
    schedule, now, waits = Schedule(Doubling(), 4), 0.0, []
    for _ in range(4):
        schedule.started()
        schedule.failed(now, None)
        waits.append(schedule.wait_s(now))
        now += waits[-1] or 0
    assert waits == [1, 2, 4, 8]
    schedule.started()
    schedule.answered()
    schedule.failed(now, None)
    assert schedule.wait_s(now) == 1


def test_a_burst_that_fails_is_one_failure() -> None:
    schedule = Schedule(Doubling(), 4)
    for _ in range(4):
        schedule.failed(0, None)
    assert schedule.wait_s(0) == 1


def test_the_rest_of_a_burst_neither_ends_the_wait_nor_shortens_a_longer_one() -> None:
    schedule = Schedule(Doubling(), 4)
    schedule.failed(0, 5.0)
    schedule.answered()
    assert schedule.wait_s(0) == 5
    schedule.failed(0, 3.0)
    assert schedule.wait_s(0) == 5
    schedule.failed(0, 9.0)
    assert schedule.wait_s(0) == 9


def test_a_flush_ends_a_wait_of_our_own_and_backs_off_anew() -> None:
    schedule = Schedule(Doubling(), 4)
    for _ in range(5):
        schedule.started()
        schedule.failed(0, None)
    schedule.hurry(1)
    assert (schedule.wait_s(1), schedule.room(1, 0)) == (None, 1)
    schedule.started()
    schedule.failed(1, None)
    assert schedule.wait_s(1) == 1


def test_a_flush_does_not_end_a_wait_that_the_receiver_asked_for() -> None:
    schedule = Schedule(Doubling(), 4)
    schedule.failed(0, 8.0)
    schedule.hurry(1)
    assert schedule.wait_s(1) == 7


def test_a_throttle_lets_one_through_each_period() -> None:
    now = [0.0]
    throttle = Throttle(60, lambda: now[0])
    assert [throttle.due(), throttle.due()] == [True, False]
    now[0] = 60.0
    assert [throttle.due(), throttle.due()] == [True, False]
