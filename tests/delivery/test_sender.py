"""The sender, over a client that does as told."""

import threading
import time

from natlens.delivery.retry import Backoff, Delivered, Outcome, Retry
from natlens.delivery.sender import Sender
from natlens.health import Health
from tests.delivery.account import account, eventually, request_of


class Told:
    """A client that gives ``outcomes`` in order and then delivers."""

    target = "nowhere"

    def __init__(self, outcomes: list[Outcome]) -> None:
        self.outcomes = outcomes
        self.closed = threading.Event()

    def export(self, payload: bytes) -> Outcome:
        assert payload
        return self.outcomes.pop(0) if self.outcomes else Delivered()

    def close(self) -> None:
        self.closed.set()


class Recorded(Backoff):
    """Waits long from the fourth failure on, and remembers what it was asked."""

    asked: list[int] = []  # noqa: RUF012  # replaced by each test

    def delay(self, attempt: int, after_s: float | None = None) -> float:
        self.asked.append(attempt)
        return after_s or (0.001 if attempt < 3 else 60.0)


def test_a_flush_starts_backing_off_anew() -> None:
    Recorded.asked = []
    health, client = Health(), Told([Retry("unavailable")] * 6)
    sender = Sender(client, health, backoff=Recorded())
    sender.send(request_of(3))
    eventually(lambda: len(Recorded.asked) == 4)
    started = time.monotonic()
    sender.flush(started + 30)
    assert time.monotonic() - started < 10
    assert Recorded.asked == [0, 1, 2, 3, 0, 1]
    assert client.closed.is_set()
    assert account(health) == {"records_captured": 3, "records_exported": 3}


def test_a_flush_does_not_shorten_the_servers_own_delay() -> None:
    Recorded.asked = []
    health = Health()
    sender = Sender(Told([Retry("unavailable", after_s=0.8)]), health, backoff=Recorded())
    started = time.monotonic()
    sender.send(request_of(3))
    eventually(lambda: len(Recorded.asked) == 1)
    sender.flush(started + 30)
    assert time.monotonic() - started >= 0.8
    assert account(health) == {"records_captured": 3, "records_exported": 3}


def test_a_servers_delay_beyond_the_deadline_is_not_waited_for() -> None:
    health = Health()
    sender = Sender(Told([Retry("resource_exhausted", after_s=500.0)]), health)
    sender.send(request_of(3))
    eventually(lambda: health.count("export_retries") == 1)
    started = time.monotonic()
    sender.flush(started + 0.2)
    assert time.monotonic() - started < 5
    assert account(health) == {"records_captured": 3, "records_dropped{reason=shutdown}": 3}
