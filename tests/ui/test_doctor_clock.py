"""The clock: what adjtimex(2) says, and a jump while it is watched."""

import errno
import time
from collections.abc import Iterator

import pytest
from tests.ui.doctoring import looked, one, worst

from natlens.ui.doctor import clock
from natlens.ui.doctor.check import Status
from natlens.ui.doctor.clock import look_at_clock


@pytest.fixture(autouse=True)
def _not_watched_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "WATCHED_S", 0.01)


def test_this_machines_clock_is_asked() -> None:
    before = time.time_ns()
    answer, status, greatest_s = clock._state()
    assert 0 <= answer <= clock.TIME_ERROR
    assert bool(status & clock.UNSYNCHRONISED) == (answer == clock.TIME_ERROR)
    assert 0 <= greatest_s < 86400
    assert abs(time.time_ns() - before) < 10**9


@pytest.mark.parametrize(
    ("state", "status", "told"),
    [
        ((0, 0, 0.004), Status.PASS, "synchronised, right within 4 ms"),
        ((0, 0, 7.0), Status.WARN, "synchronised, but may be 7.0 s wrong"),
        ((5, 0x40, 16.0), Status.WARN, "not synchronised"),
        ((0, 0x40, 0.1), Status.WARN, "not synchronised"),
    ],
)
def test_what_keeps_it_right(
    monkeypatch: pytest.MonkeyPatch, state: tuple[int, int, float], status: Status, told: str
) -> None:
    monkeypatch.setattr(clock, "_state", lambda: state)
    found = looked(look_at_clock)
    assert worst(found) == status
    assert found[0].found.startswith(told)


def test_adjtimex_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(clock, "_state", refuse)
    assert one(looked(look_at_clock), Status.WARN).found == "could not look: adjtimex: Operation not permitted"


def test_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead: Iterator[float] = iter([1000.0, 998.5])
    monkeypatch.setattr(clock, "_state", lambda: (0, 0, 0.0))
    monkeypatch.setattr(clock, "_ahead", lambda: next(ahead))
    assert one(looked(look_at_clock), Status.WARN).found == "jumped by -1.500 s just now"
