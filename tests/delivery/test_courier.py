"""What becomes of requests and answers, without sockets, threads or time."""

import logging

import pytest

from natlens.delivery.account import Account
from natlens.delivery.compression import Compression, codec
from natlens.delivery.courier import LEAST_LIMIT, Courier
from natlens.delivery.exchange import Failure
from natlens.delivery.queue import Queue
from natlens.delivery.retry import Backoff, Delivered, Outcome, Refused, Retry, TooLarge
from natlens.delivery.schedule import Schedule
from natlens.health import Health
from natlens.otlp.request import UNITS, Request, Signal
from tests.delivery.account import account, balanced, counted, records_of, request_of, sequences, units_of
from tests.delivery.scripted import Plain, Told


class Exact(Backoff):
    """10, 20, 30 … seconds."""

    def delay(self, attempt: int, after_s: float | None = None) -> float:
        return after_s or 10.0 * (attempt + 1)


class Desk:
    """A courier, its queue and a transport that does nothing, at a time that tests set."""

    def __init__(self, in_flight: int = 3, compression: Compression = "none", signal: Signal = "logs") -> None:
        self.health, self.transport, self.binding = Health(), Told(), Plain()
        account = Account(self.health, signal)
        self.signal, self.queue = signal, Queue(64 << 20, account)
        self.codec = codec(compression)
        schedule = Schedule(Exact(), in_flight)
        self.courier = Courier("nowhere", self.binding, self.transport, self.codec, schedule, account)
        self.now = 0.0
        self.sent: list[bytes] = []

    def put(self, *requests: Request) -> None:
        for request in requests:
            self.queue.put(self.codec.compress(request.data), len(request.data), request.records)

    def start(self) -> list[list[int]]:
        """Start what may start; return the sequence numbers of each request that is on its way."""
        self.wait_s = self.courier.start(self.queue, self.now)
        return [
            sequences(units_of(self.signal, self.codec.decompress(body))) for body in self.transport.running.values()
        ]

    def answer(self, outcome: Outcome | Failure, at: int = 0) -> None:
        """Answer the request that is ``at`` in order of those on their way."""
        token = list(self.transport.running)[at]
        self.sent.append(self.transport.running.pop(token))
        result = outcome if isinstance(outcome, Failure) else self.binding.answer(outcome)
        self.courier.settle(self.queue, token, result, self.now)
        assert balanced(self.health, self.signal)

    def run(self, limit_bytes: int, code: str = "http_413") -> list[int]:
        """Answer all as a receiver that takes so many bytes; return the sequence numbers it took, as they came."""
        taken: list[int] = []
        while self.start():
            body = self.codec.decompress(next(iter(self.transport.running.values())))
            if fits := len(body) <= limit_bytes:
                taken += sequences(units_of(self.signal, body))
            self.answer(Delivered() if fits else TooLarge(code, "too large"))
        return taken


def test_several_are_sent_at_once_in_order() -> None:
    desk = Desk(in_flight=3)
    desk.put(*(request_of(1, at) for at in range(5)))
    assert desk.start() == [[0], [1], [2]]
    desk.answer(Delivered(), at=1)
    assert desk.start() == [[0], [2], [3]]


def test_after_a_failure_the_oldest_probes_alone_and_a_success_opens_again() -> None:
    desk = Desk(in_flight=3)
    desk.put(*(request_of(1, at) for at in range(5)))
    desk.start()
    desk.answer(Delivered(), at=1)
    desk.answer(Retry("unavailable"), at=1)
    assert desk.start() == [[0]]
    desk.answer(Failure("unavailable", "reset"))
    assert desk.start() == []
    assert desk.wait_s == 10
    desk.now = 10
    assert desk.start() == [[0]]
    desk.answer(Retry("unavailable"))
    assert desk.start() == []
    assert desk.wait_s == 20
    desk.now = 30
    assert desk.start() == [[0]]
    desk.answer(Delivered())
    assert desk.start() == [[2], [3], [4]]
    assert desk.health.count("export_retries", code="unavailable") == 3


@pytest.mark.parametrize("outcome", [Delivered(1), Refused("internal"), TooLarge("http_413")])
def test_any_final_answer_to_a_probe_opens_again(outcome: Outcome) -> None:
    desk = Desk(in_flight=2)
    desk.put(*(request_of(1, at) for at in range(3)))
    desk.start()
    for _ in range(2):
        desk.answer(Retry("unavailable"))
    desk.now = 10
    assert desk.start() == [[0]]
    desk.answer(outcome)
    assert desk.start() == [[1], [2]]


def test_what_is_sent_again_has_the_same_bytes() -> None:
    desk = Desk(in_flight=1, compression="gzip")
    desk.put(request_of(3))
    for desk.now in (0, 10, 30, 60):
        desk.start()
        desk.answer(Retry("unavailable"))
    assert len(desk.sent) == 4
    assert len(set(desk.sent)) == 1


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [
        (Delivered(), {"exported": 5}),
        (Delivered(message="mind the schema"), {"exported": 5}),
        (Delivered(2, "too old"), {"exported": 3, "rejected{code=partial_success}": 2}),
        (Delivered(5), {"rejected{code=partial_success}": 5}),
        (Delivered(99), {"rejected{code=partial_success}": 5}),
        (Delivered(-1), {"exported": 5}),
        (Refused("internal", "no"), {"rejected{code=internal}": 5}),
    ],
)
def test_final_answers_are_counted_and_nothing_is_sent_again(
    outcome: Outcome, counts: dict[str, int], signal: Signal
) -> None:
    desk = Desk(signal=signal)
    desk.put(request_of(5, signal=signal))
    desk.start()
    desk.answer(outcome)
    assert desk.start() == []
    assert account(desk.health, signal) == counted(signal, captured=5, **counts)


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_a_request_that_is_too_large_is_halved_in_order_until_it_fits(compression: Compression, signal: Signal) -> None:
    desk = Desk(in_flight=1, compression=compression, signal=signal)
    desk.put(request_of(7, 0, 1000, signal), request_of(2, 7, 10, signal))
    assert desk.run(limit_bytes=2500) == list(range(9))
    assert len(desk.sent) == 8  # 7 → 3, 4 → 1, 2, 2, 2; and the 2 small ones at once
    assert account(desk.health, signal) == counted(signal, captured=9, exported=9)


def test_a_single_record_that_is_too_large_is_rejected_and_the_others_get_through(signal: Signal) -> None:
    desk = Desk(in_flight=1, signal=signal)
    middle, *others = (request_of(1, 2, 5000, signal), *(request_of(2, at, 0, signal) for at in (0, 3)))
    message = b"".join([others[0].data, middle.data, others[1].data])  # concatenated messages are one
    desk.put(Request(message, 5, signal))
    assert desk.run(limit_bytes=1000) == [0, 1, 3, 4]
    assert account(desk.health, signal) == counted(signal, captured=5, exported=4, **{"rejected{code=too_large}": 1})


def test_the_limit_is_learned_and_later_requests_are_cut_before_they_are_sent() -> None:
    desk, big = Desk(in_flight=1), [request_of(8, 8 * at, 100_000) for at in range(3)]
    desk.put(*big)
    assert desk.run(limit_bytes=450_000) == list(range(24))
    assert [len(records_of(body)) for body in desk.sent] == [8, 4, 4, 4, 4, 4, 4]
    assert desk.courier.limit_bytes == len(big[0].data) * 3 // 4


def test_every_exchange_is_timed_whatever_its_end(signal: Signal) -> None:
    desk = Desk(in_flight=1, signal=signal)
    desk.put(*(request_of(1, at, signal=signal) for at in range(2)))
    for outcome, took_s in ((Retry("unavailable"), 0.25), (Delivered(), 1.5), (Refused("internal"), 0.0000014)):
        desk.start()
        desk.now += took_s
        desk.answer(outcome)
        desk.now = 100.0
    assert desk.health.count("export_count", signal=signal) == 3
    assert desk.health.count("export_time_us", signal=signal) == 1_750_001
    assert desk.health.count("export_retries", code="unavailable", signal=signal) == 1


def test_no_tiny_limit_is_learned() -> None:
    desk = Desk(in_flight=1)
    desk.put(request_of(8, 0, 100))
    desk.run(limit_bytes=10)
    assert desk.courier.limit_bytes == LEAST_LIMIT
    assert account(desk.health)["records_rejected{code=too_large}"] == 8


def test_messages_of_what_goes_wrong_say_what_and_where_once(signal: Signal, caplog: pytest.LogCaptureFixture) -> None:
    desk, unit = Desk(in_flight=1, signal=signal), UNITS[signal]
    desk.put(*(request_of(2, at, 1000, signal) for at in range(4)))
    outcomes = Retry("unavailable", "down"), TooLarge("http_413", "big"), Delivered(1, "old"), Refused("internal")
    for outcome in outcomes:
        desk.start()
        desk.answer(outcome)
        desk.now += 100
    assert [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING] == [
        f"nowhere: unavailable: down; retrying, 8 {unit} wait",
        f"nowhere: 2 {unit} in {len(request_of(2, 0, 1000, signal).data)} bytes are too much at once: http_413: big; "
        "sending less",
        f"nowhere refused 1 {unit}: partial_success: old",
    ]


def test_a_warning_of_the_receiver_is_passed_on(signal: Signal, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(signal=signal)
    desk.put(request_of(2, signal=signal))
    desk.start()
    desk.answer(Delivered(message="mind the schema"))
    assert caplog.messages == [f"nowhere took 2 {UNITS[signal]} and says: mind the schema"]
