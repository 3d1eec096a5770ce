"""The retry rules, without a network."""

import pytest

from natlens.delivery.retry import Backoff, Refused, Retry, classify
from natlens.delivery.throttle import Throttle


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


def test_resource_exhausted_is_retried_only_where_the_server_says_when() -> None:
    assert classify("resource_exhausted", "m", None) == Refused("resource_exhausted", "m")
    assert classify("resource_exhausted", "m", 0.0) == Retry("resource_exhausted", "m", 0.0)
    assert classify("invalid_argument", "m", 5.0) == Refused("invalid_argument", "m")


def test_a_throttle_lets_one_through_each_period() -> None:
    now = [0.0]
    throttle = Throttle(60, lambda: now[0])
    assert [throttle.due(), throttle.due()] == [True, False]
    now[0] = 60.0
    assert [throttle.due(), throttle.due()] == [True, False]
