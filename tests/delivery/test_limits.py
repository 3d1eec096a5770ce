"""Sizes, queues and deadlines, over both protocols: every record is accounted for in each test."""

import time
from typing import Any

from natlens.delivery.retry import Backoff
from natlens.health import Health
from tests.collector.ports import free_port
from tests.delivery.account import account, eventually, request_of, sequences
from tests.delivery.sending import receiver, sender_to, unavailable
from tests.delivery.server import Ok


def test_a_message_over_the_receivers_limit_is_halved_until_it_fits(protocol: str) -> None:
    health = Health()
    with (
        receiver(protocol, message_bytes=400_000) as server,
        sender_to(server.url, health, protocol, requests_in_flight=1) as sender,
    ):
        sender.send(request_of(1000, 0, 1000))
        sender.send(request_of(3, 1000))
        sender.flush(time.monotonic() + 5)
        assert sequences(server.records) == list(range(1003))
        assert [len(raw) <= 400_000 for raw in server.taken] == [True] * len(server.taken)
        assert len(server.taken) == 5
    assert account(health) == {"records_captured": 1003, "records_exported": 1003}


def test_a_single_record_over_the_receivers_limit_is_rejected(protocol: str) -> None:
    health = Health()
    with (
        receiver(protocol, message_bytes=1000) as server,
        sender_to(server.url, health, protocol, requests_in_flight=1) as sender,
    ):
        sender.send(request_of(1, 0, 5000))
        sender.send(request_of(2, 1))
        sender.flush(time.monotonic() + 5)
        assert sequences(server.records) == [1, 2]
    assert account(health) == {
        "records_captured": 3,
        "records_exported": 2,
        "records_rejected{code=too_large}": 1,
    }


def test_a_full_queue_drops_the_oldest_exactly(protocol: str) -> None:
    health, port = Health(), free_port("127.0.0.1")
    size = len(request_of(5).data)
    options: dict[str, Any] = {"compression": "none", "requests_in_flight": 1, "queue_bytes": 4 * size + size // 2}
    with sender_to(f"http://127.0.0.1:{port}", health, protocol, **options) as sender:
        for at in range(10):
            sender.send(request_of(5, first=5 * at))
        assert account(health) == {
            "records_captured": 50,
            "records_dropped{reason=queue_full}": 30,
            "records_pending": 20,
        }
        with receiver(protocol, port=port) as server:
            sender.flush(time.monotonic() + 10)
            assert len(server.records) == 20
            assert sequences(server.records)[-15:] == list(range(35, 50))
    assert account(health) == {
        "records_captured": 50,
        "records_dropped{reason=queue_full}": 30,
        "records_exported": 20,
    }


def test_a_flush_without_a_receiver_ends_at_its_deadline(protocol: str) -> None:
    health = Health()
    with sender_to(f"http://127.0.0.1:{free_port('127.0.0.1')}", health, protocol) as sender:
        for _ in range(3):
            sender.send(request_of(5))
        started = time.monotonic()
        sender.flush(started + 0.4)
        assert 0.4 <= time.monotonic() - started < 0.8
        assert account(health) == {"records_captured": 15, "records_dropped{reason=shutdown}": 15}
        sender.send(request_of(2))
    assert account(health) == {"records_captured": 17, "records_dropped{reason=shutdown}": 17}


def test_a_flush_into_a_slow_receiver_counts_what_got_through(protocol: str) -> None:
    health = Health()
    with (
        receiver(protocol, [Ok(), Ok(), Ok(delay_s=30)]) as server,
        sender_to(server.url, health, protocol, timeout=60, requests_in_flight=1) as sender,
    ):
        for at in range(5):
            sender.send(request_of(5, first=5 * at))
        eventually(lambda: len(server.attempts) == 3)
        started = time.monotonic()
        sender.flush(started + 0.3)
        assert time.monotonic() - started < 0.8
    assert account(health) == {
        "records_captured": 25,
        "records_exported": 10,
        "records_dropped{reason=shutdown}": 15,
    }


def test_a_flush_does_not_sit_out_a_backoff(protocol: str) -> None:
    health = Health()
    slow = Backoff(initial_s=60, max_s=60)
    with (
        receiver(protocol, [unavailable(protocol)]) as server,
        sender_to(server.url, health, protocol, backoff=slow) as sender,
    ):
        sender.send(request_of(5))
        eventually(lambda: health.count("export_retries") == 1)
        started = time.monotonic()
        sender.flush(started + 10)
        assert time.monotonic() - started < 1
    assert account(health) == {"records_captured": 5, "records_exported": 5}


def test_close_without_flush_counts_what_was_pending(protocol: str) -> None:
    health = Health()
    with sender_to(f"http://127.0.0.1:{free_port('127.0.0.1')}", health, protocol) as sender:
        sender.send(request_of(5))
    assert account(health) == {"records_captured": 5, "records_dropped{reason=shutdown}": 5}
