"""OTLP/gRPC against a real server that misbehaves on demand; every record is accounted for in each test."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from natlens import __version__
from natlens.delivery.grpc import GrpcClient
from natlens.delivery.retry import Backoff
from natlens.delivery.sender import Sender
from natlens.delivery.settings import OtlpSettings
from natlens.health import Health
from tests.delivery.account import account, balanced, eventually, request_of, sequences
from tests.delivery.server import Answer, Collector, Fail, Ok

# The table of the OTLP specification, "OTLP/gRPC Response, Failures".
SPECIFIED = {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
QUICK = Backoff(initial_s=0.02, max_s=0.1)


@contextmanager
def sender_to(
    port: int,
    health: Health,
    *,
    timeout_s: float = 5.0,
    headers: tuple[tuple[str, str], ...] = (),
    queue_bytes: int = 64 << 20,
    request_bytes: int = 4_000_000,
    backoff: Backoff = QUICK,
) -> Iterator[Sender]:
    settings = OtlpSettings(f"127.0.0.1:{port}", insecure=True, headers=headers, timeout_s=timeout_s)
    client = GrpcClient(settings, backoff)
    sender = Sender(client, health, queue_bytes=queue_bytes, request_bytes=request_bytes, backoff=backoff)
    try:
        yield sender
    finally:
        sender.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def deliver(answers: list[Answer], count: int = 5) -> tuple[dict[str, int], Collector]:
    """Send ``count`` records to a server that answers so; return the account and the server."""
    health = Health()
    with Collector(answers) as collector, sender_to(collector.port, health) as sender:
        sender.send(request_of(count))
        sender.flush(time.monotonic() + 5)
    return account(health), collector


def test_records_arrive_as_sent() -> None:
    health = Health()
    with Collector() as collector, sender_to(collector.port, health, headers=(("x-token", "s3cret"),)) as sender:
        sender.send(request_of(3))
        sender.send(request_of(2, first=3))
        sender.send(request_of(0))
        sender.flush(time.monotonic() + 5)
    assert account(health) == {"records_captured": 5, "records_exported": 5}
    assert collector.taken == [request_of(3).SerializeToString(), request_of(2, 3).SerializeToString()]
    assert collector.metadata[0]["x-token"] == "s3cret"  # made up
    assert str(collector.metadata[0]["user-agent"]).startswith(f"OTel-OTLP-Exporter-natlens/{__version__}")


@pytest.mark.parametrize("name", sorted(SPECIFIED))
def test_retryable_codes_are_tried_again_with_the_same_bytes(name: str) -> None:
    counts, collector = deliver([Fail(grpc.StatusCode[name])] * 2)
    assert counts == {"records_captured": 5, "records_exported": 5}
    assert len(collector.attempts) == 3
    assert len(set(collector.attempts)) == 1


@pytest.mark.parametrize(
    "code",
    [
        code
        for code in grpc.StatusCode
        if code is not grpc.StatusCode.OK and code.name not in SPECIFIED  # resource_exhausted without RetryInfo
    ],
)
def test_permanent_codes_are_counted_and_not_sent_again(code: grpc.StatusCode) -> None:
    counts, collector = deliver([Fail(code)])
    assert counts == {"records_captured": 5, f"records_rejected{{code={code.name.lower()}}}": 5}
    assert len(collector.attempts) == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE])
def test_the_servers_delay_is_kept(code: grpc.StatusCode) -> None:
    counts, collector = deliver([Fail(code, retry_s=0.7)])
    assert counts == {"records_captured": 5, "records_exported": 5}
    assert collector.times[1] - collector.times[0] >= 0.7


def test_partial_success_is_counted_and_never_sent_again() -> None:
    counts, collector = deliver([Ok(rejected=2, message="too old")])
    assert counts == {"records_captured": 5, "records_exported": 3, "records_rejected{code=partial_success}": 2}
    assert len(collector.attempts) == 1


@pytest.mark.parametrize("rejected", [99, -1])
def test_a_partial_success_that_makes_no_sense_still_balances(rejected: int) -> None:
    counts, _ = deliver([Ok(rejected=rejected)])
    assert counts["records_captured"] == 5


def test_a_warning_of_the_server_rejects_nothing() -> None:
    counts, _ = deliver([Ok(message="mind the schema")])
    assert counts == {"records_captured": 5, "records_exported": 5}


def test_a_request_too_large_for_the_server_is_rejected() -> None:
    health = Health()
    with Collector(message_bytes=1000) as collector, sender_to(collector.port, health) as sender:
        sender.send(request_of(5))
        sender.flush(time.monotonic() + 5)
    assert account(health) == {"records_captured": 5, "records_rejected{code=resource_exhausted}": 5}


def test_a_slow_server_is_given_the_timeout_and_then_tried_again() -> None:
    health = Health()
    with (
        Collector([Ok(delay_s=1.0)]) as collector,
        sender_to(collector.port, health, timeout_s=0.3) as sender,
    ):
        sender.send(request_of(5))
        sender.flush(time.monotonic() + 5)
        assert len(collector.attempts) == 2
    assert account(health) == {"records_captured": 5, "records_exported": 5}
    assert health.count("export_retries", code="deadline_exceeded") == 1


def test_an_absent_server_that_comes_up_gets_everything_in_order(caplog: pytest.LogCaptureFixture) -> None:
    health, port = Health(), free_port()
    with sender_to(port, health) as sender:
        for at in range(20):
            sender.send(request_of(5, first=5 * at))
        eventually(lambda: health.count("export_retries", code="unavailable") >= 3)
        assert account(health) == {"records_captured": 100, "records_pending": 100}
        with Collector(port=port) as collector:
            sender.flush(time.monotonic() + 10)
            assert sequences(collector.records) == list(range(100))
    assert account(health) == {"records_captured": 100, "records_exported": 100}
    assert len([one for one in caplog.records if "retrying" in one.message]) == 1


def test_a_server_that_restarts_loses_nothing() -> None:
    health = Health()
    with Collector() as first, sender_to(first.port, health) as sender:
        sender.send(request_of(5))
        eventually(lambda: health.count("records_exported") == 5)
        first.__exit__(None, None, None)
        sender.send(request_of(5, first=5))
        eventually(lambda: health.count("export_retries") >= 1)
        with Collector(port=first.port) as second:
            sender.flush(time.monotonic() + 10)
            assert sequences(second.records) == [5, 6, 7, 8, 9]
    assert account(health) == {"records_captured": 10, "records_exported": 10}


def test_requests_are_split_and_oversized_records_counted() -> None:
    health, single = Health(), request_of(1).ByteSize()
    with Collector() as collector, sender_to(collector.port, health, request_bytes=3 * single) as sender:
        sender.send(request_of(10))
        sender.flush(time.monotonic() + 5)
        assert sequences(collector.records) == list(range(10))
        assert len(collector.taken) > 1
        assert all(len(raw) <= 3 * single for raw in collector.taken)
    assert account(health) == {"records_captured": 10, "records_exported": 10}
    with Collector() as collector, sender_to(collector.port, health, request_bytes=single - 50) as sender:
        sender.send(request_of(4))
    assert account(health)["records_dropped{reason=too_large}"] == 4


def test_a_full_queue_drops_the_oldest_exactly() -> None:
    health, port = Health(), free_port()
    size = request_of(5).ByteSize()
    with sender_to(port, health, queue_bytes=4 * size + size // 2) as sender:
        sender.send(request_of(5))
        eventually(lambda: health.count("export_retries") >= 1)  # the first request is being sent: it stays
        for at in range(1, 10):
            sender.send(request_of(5, first=5 * at))
        assert account(health) == {
            "records_captured": 50,
            "records_dropped{reason=queue_full}": 30,
            "records_pending": 20,
        }
        with Collector(port=port) as collector:
            sender.flush(time.monotonic() + 10)
            assert sequences(collector.records) == [*range(5), *range(35, 50)]
    assert account(health) == {
        "records_captured": 50,
        "records_dropped{reason=queue_full}": 30,
        "records_exported": 20,
    }


def test_a_flush_without_a_server_ends_at_its_deadline() -> None:
    health = Health()
    with sender_to(free_port(), health) as sender:
        for _ in range(3):
            sender.send(request_of(5))
        started = time.monotonic()
        sender.flush(started + 0.5)
        assert 0.5 <= time.monotonic() - started < 1.5
        assert account(health) == {"records_captured": 15, "records_dropped{reason=shutdown}": 15}
        sender.send(request_of(2))
    assert account(health) == {"records_captured": 17, "records_dropped{reason=shutdown}": 17}


def test_a_flush_into_a_slow_server_counts_what_got_through() -> None:
    health = Health()
    answers = [Ok(), Ok(), Ok(delay_s=30)]
    with Collector(answers) as collector, sender_to(collector.port, health, timeout_s=60) as sender:
        for at in range(5):
            sender.send(request_of(5, first=5 * at))
        eventually(lambda: len(collector.attempts) == 3)
        started = time.monotonic()
        sender.flush(started + 0.5)
        assert time.monotonic() - started < 2
    assert account(health) == {
        "records_captured": 25,
        "records_exported": 10,
        "records_dropped{reason=shutdown}": 15,
    }


def test_a_flush_does_not_sit_out_a_backoff() -> None:
    health = Health()
    slow = Backoff(initial_s=60, max_s=60)
    with (
        Collector([Fail(grpc.StatusCode.UNAVAILABLE)]) as collector,
        sender_to(collector.port, health, backoff=slow) as sender,
    ):
        sender.send(request_of(5))
        eventually(lambda: health.count("export_retries") == 1)
        started = time.monotonic()
        sender.flush(started + 10)
        assert time.monotonic() - started < 5
    assert account(health) == {"records_captured": 5, "records_exported": 5}


def test_close_without_flush_counts_what_was_pending() -> None:
    health = Health()
    with sender_to(free_port(), health) as sender:
        sender.send(request_of(5))
    assert account(health) == {"records_captured": 5, "records_dropped{reason=shutdown}": 5}


def test_a_storm_of_faults_balances_at_every_moment() -> None:
    codes = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.ABORTED]
    answers: list[Answer] = [Fail(codes[at % 3]) if at % 4 else Ok(rejected=at % 3) for at in range(60)]
    health, size = Health(), request_of(5).ByteSize()
    with Collector(answers) as collector, sender_to(collector.port, health, queue_bytes=20 * size) as sender:
        for at in range(100):
            sender.send(request_of(5, first=5 * at))
        sender.flush(time.monotonic() + 20)
        exported = health.count("records_exported")
        assert len(collector.records) == exported + health.count("records_rejected", code="partial_success")
    assert balanced(health)
    assert account(health)["records_captured"] == 500
    assert "records_pending" not in account(health)


def test_grpc_is_imported_only_with_a_client() -> None:
    code = (
        "import sys, natlens.delivery.grpc, natlens.delivery.sender, natlens.delivery.file, natlens.delivery.settings\n"
        "sys.exit('grpc' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": "exporter"}, check=False).returncode == 0
