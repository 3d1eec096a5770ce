"""The sender's thread and its flush, over a transport that does as told."""

import time
from typing import Any

import pytest

from natlens.delivery.compression import codec
from natlens.delivery.retry import Backoff, Delivered, Retry, TooLarge
from natlens.delivery.sender import Sender
from natlens.health import Health
from natlens.otlp.request import REQUEST_BYTES, Request, Signal
from tests.delivery.account import account, counted, eventually, records_of, request_of, sequences, units_of
from tests.delivery.scripted import Scripted

NONE = codec("none")


class Recorded(Backoff):
    """Waits long from the fourth failure on, and remembers what it was asked."""

    asked: list[int] = []  # noqa: RUF012  # replaced by each test

    def delay(self, attempt: int, after_s: float | None = None) -> float:
        self.asked.append(attempt)
        return after_s or (0.001 if attempt < 3 else 60.0)


def sender(transport: Scripted, health: Health, request_bytes: int = REQUEST_BYTES, signal: Signal = "logs") -> Sender:
    options: dict[str, Any] = {"signal": signal, "request_bytes": request_bytes, "backoff": Recorded()}
    return Sender("nowhere", transport.binding, transport, NONE, health, **options)


@pytest.fixture(autouse=True)
def _forget() -> None:
    Recorded.asked = []


def test_a_flush_starts_backing_off_anew() -> None:
    health, transport = Health(), Scripted([Retry("unavailable")] * 6)
    sending = sender(transport, health)
    sending.send(request_of(3))
    eventually(lambda: len(Recorded.asked) == 4)
    started = time.monotonic()
    sending.flush(started + 30)
    assert time.monotonic() - started < 5
    assert Recorded.asked == [0, 1, 2, 3, 0, 1]
    assert transport.closed.is_set()
    assert account(health) == {"records_captured": 3, "records_exported": 3}


def test_a_flush_does_not_shorten_the_servers_own_delay() -> None:
    health = Health()
    sending = sender(Scripted([Retry("unavailable", after_s=0.5)]), health)
    started = time.monotonic()
    sending.send(request_of(3))
    eventually(lambda: len(Recorded.asked) == 1)
    sending.flush(started + 30)
    assert time.monotonic() - started >= 0.5
    assert account(health) == {"records_captured": 3, "records_exported": 3}


def test_a_servers_delay_beyond_the_deadline_is_not_waited_for() -> None:
    health = Health()
    sending = sender(Scripted([Retry("resource_exhausted", after_s=500.0)]), health)
    sending.send(request_of(3))
    eventually(lambda: health.count("export_retries") == 1)
    started = time.monotonic()
    sending.flush(started + 0.2)
    assert time.monotonic() - started < 1
    assert account(health) == {"records_captured": 3, "records_dropped{reason=shutdown}": 3}


def test_an_answer_that_is_outstanding_at_the_deadline_counts_as_dropped() -> None:
    health = Health()
    sending = sender(Scripted([Delivered(), None]), health)
    sending.send(request_of(3))
    sending.send(request_of(4))
    sending.flush(time.monotonic() + 0.2)
    assert account(health) == {
        "records_captured": 7,
        "records_exported": 3,
        "records_dropped{reason=shutdown}": 4,
    }


def test_what_comes_after_a_flush_is_dropped_and_closing_twice_does_nothing() -> None:
    health = Health()
    sending = sender(Scripted(), health)
    sending.flush(time.monotonic() + 5)
    sending.send(request_of(2))
    sending.close()
    sending.close()
    assert account(health) == {"records_captured": 2, "records_dropped{reason=shutdown}": 2}


def test_requests_over_the_limit_are_cut_in_order_and_single_records_over_it_dropped(signal: Signal) -> None:
    health, transport, single = Health(), Scripted(), len(request_of(1, 0, 100, signal).data)
    sending = sender(transport, health, request_bytes=3 * single, signal=signal)
    sending.send(Request(request_of(9, 0, 100, signal).data + request_of(1, 9, 1000, signal).data, 10, signal))
    sending.flush(time.monotonic() + 5)
    assert all(len(body) <= 3 * single for body in transport.bodies)
    assert [number for body in transport.bodies for number in sequences(units_of(signal, body))] == list(range(9))
    assert account(health, signal) == counted(signal, captured=10, exported=9, **{"dropped{reason=too_large}": 1})


def test_a_limit_that_was_learned_is_kept_from_the_start() -> None:
    health, transport = Health(), Scripted([TooLarge("http_413")])
    sending = sender(transport, health)
    big = [request_of(4, 4 * at, 200_000) for at in range(2)]
    sending.send(big[0])
    eventually(lambda: health.count("records_exported") == 4)
    sending.send(big[1])
    sending.flush(time.monotonic() + 5)
    assert [len(records_of(body)) for body in transport.bodies] == [4, 2, 2, 2, 2]
    assert account(health) == {"records_captured": 8, "records_exported": 8}
