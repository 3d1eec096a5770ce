"""Receivers and networks that fail, over both protocols: every record is accounted for in each test."""

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import grpc
import pytest

from natlens.delivery.retry import Backoff
from natlens.health import Health
from tests.collector.ports import free_port
from tests.delivery.account import account, balanced, eventually, request_of, sequences
from tests.delivery.answering import Answering
from tests.delivery.relay import Relay
from tests.delivery.sending import receiver, sender_to, unavailable
from tests.delivery.server import Answer as Told
from tests.delivery.server import Fail, Ok, Receiver, Reset


def test_only_one_probes_while_the_receiver_fails(protocol: str) -> None:
    health = Health()
    backoff = Backoff(initial_s=0.4, max_s=0.4)
    with (
        receiver(protocol, [unavailable(protocol)] * 7) as server,
        sender_to(server.url, health, protocol, backoff=backoff) as sender,
    ):
        for at in range(12):
            sender.send(request_of(1, at))
        eventually(lambda: health.count("records_exported") == 12)
    assert len(server.attempts) == 12 + 7
    burst = sum(later - server.times[0] < 0.2 for later in server.times[:7])
    probes = server.times[burst:7]
    assert burst <= 4
    assert all(later - earlier >= 0.2 for earlier, later in pairwise(probes))
    assert len({bytes(raw) for raw in server.attempts[burst:8]}) == 1  # the oldest, again and again
    assert account(health) == {"records_captured": 12, "records_exported": 12}


def test_a_slow_answer_is_a_time_out_and_tried_again(protocol: str) -> None:
    health = Health()
    with (
        receiver(protocol, [Ok(delay_s=1.0)]) as server,
        sender_to(server.url, health, protocol, timeout=0.2) as sender,
    ):
        sender.send(request_of(5))
        sender.flush(time.monotonic() + 5)
    assert account(health) == {"records_captured": 5, "records_exported": 5}
    assert health.count("export_retries", code="deadline_exceeded") == 1
    assert len(server.attempts) == 2


def test_after_a_time_out_the_next_attempt_has_a_new_connection(protocol: str) -> None:
    health = Health()
    with (
        receiver(protocol) as server,
        Relay("127.0.0.1", server.port) as relay,
        sender_to(relay.url, health, protocol, timeout=0.3) as sender,
    ):
        sender.send(request_of(1))
        eventually(lambda: health.count("records_exported") == 1)
        relay.delay = 5.0
        sender.send(request_of(1, 1))
        eventually(lambda: health.count("export_retries") >= 1)
        relay.delay = 0.0
        sender.flush(time.monotonic() + 5)
        assert relay.connections >= 2
    assert account(health) == {"records_captured": 2, "records_exported": 2}


def test_a_connection_that_is_reset_within_a_request_is_tried_again(protocol: str) -> None:
    health = Health()
    with (
        receiver(protocol) as server,
        Relay("127.0.0.1", server.port) as relay,
        sender_to(relay.url, health, protocol, compression="none") as sender,
    ):
        relay.cut_after(20_000)
        sender.send(request_of(100, 0, 1000))
        sender.flush(time.monotonic() + 5)
    assert account(health) == {"records_captured": 100, "records_exported": 100}
    assert health.count("export_retries", code="unavailable") == 1
    assert sequences(server.records) == list(range(100))
    assert server.taken == [request_of(100, 0, 1000).data]


def test_a_connection_that_is_reset_before_the_request_is_read_is_tried_again() -> None:
    health = Health()
    with (
        Receiver([Reset(after_bytes=5)], transport="http") as server,
        sender_to(server.url, health, "http/protobuf") as sender,
    ):
        sender.send(request_of(5))
        sender.flush(time.monotonic() + 5)
    assert account(health) == {"records_captured": 5, "records_exported": 5}
    assert len(server.attempts) == 2


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"])
def test_an_answer_that_is_cut_off_is_tried_again(answer: bytes) -> None:
    health = Health()
    with Answering(answer) as server, sender_to(server.url, health, "http/protobuf") as sender:
        sender.send(request_of(5))
        eventually(lambda: health.count("export_retries", code="unavailable") >= 2)
        assert account(health) == {"records_captured": 5, "records_pending": 5}


def test_an_absent_receiver_that_comes_up_gets_everything_in_order(
    protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    health, port = Health(), free_port("127.0.0.1")
    with sender_to(f"http://127.0.0.1:{port}", health, protocol, requests_in_flight=1) as sender:
        for at in range(20):
            sender.send(request_of(5, first=5 * at))
        eventually(lambda: health.count("export_retries", code="unavailable") >= 3)
        assert account(health) == {"records_captured": 100, "records_pending": 100}
        with receiver(protocol, port=port) as server:
            sender.flush(time.monotonic() + 10)
            assert sequences(server.records) == list(range(100))
            assert len(server.attempts) == 20
    assert account(health) == {"records_captured": 100, "records_exported": 100}
    (message,) = [one for one in caplog.messages if "retrying" in one]
    assert message.startswith(f"http://127.0.0.1:{port}{'' if protocol == 'grpc' else '/v1/logs'}: unavailable: ")
    assert "Could not connect" in message


def test_a_receiver_that_restarts_loses_nothing(protocol: str) -> None:
    health = Health()
    with receiver(protocol) as first, sender_to(first.url, health, protocol) as sender:
        sender.send(request_of(5))
        eventually(lambda: health.count("records_exported") == 5)
        first.stop()
        sender.send(request_of(5, first=5))
        eventually(lambda: health.count("export_retries") >= 1)
        with receiver(protocol, port=first.port) as second:
            sender.flush(time.monotonic() + 10)
            assert sequences(second.records) == [5, 6, 7, 8, 9]
    assert account(health) == {"records_captured": 10, "records_exported": 10}


def test_a_connection_that_the_receiver_closed_between_requests_costs_no_retry(protocol: str) -> None:
    health = Health()
    with (
        receiver(protocol) as server,
        Relay("127.0.0.1", server.port) as relay,
        sender_to(relay.url, health, protocol) as sender,
    ):
        for at in range(4):
            sender.send(request_of(1, at))
            eventually(lambda at=at: health.count("records_exported") == at + 1)  # type: ignore[misc]
            relay.reset()
            time.sleep(0.05)
        assert relay.connections == 4
    assert health.count("export_retries") == 0
    assert len(server.attempts) == 4


def test_a_receiver_that_asks_to_go_away_after_each_connections_age_loses_nothing() -> None:
    """GOAWAY, with which grpc servers end connections that are old, while requests are on their way."""
    taken: list[bytes] = []

    def export(raw: bytes, _: grpc.ServicerContext) -> bytes:
        time.sleep(0.002)
        taken.append(raw)
        return b""

    handler = grpc.unary_unary_rpc_method_handler(export)
    service = "opentelemetry.proto.collector.logs.v1.LogsService"
    ages = [("grpc.max_connection_age_ms", 50), ("grpc.max_connection_age_grace_ms", 5000)]
    server = grpc.server(ThreadPoolExecutor(4), options=ages)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    health = Health()
    with sender_to(f"http://127.0.0.1:{port}", health, "grpc") as sender:
        for at in range(300):
            sender.send(request_of(1, at))
        sender.flush(time.monotonic() + 10)
    server.stop(0).wait()
    assert account(health) == {"records_captured": 300, "records_exported": 300}
    assert len(taken) == 300


def test_a_storm_of_faults_balances_at_every_moment(protocol: str) -> None:
    codes = (
        [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.ABORTED]
        if protocol == "grpc"
        else [503, 400, 429]
    )
    answers: list[Told] = [Fail(codes[at % 3]) if at % 4 else Ok(rejected=at % 3) for at in range(60)]
    health, size = Health(), len(request_of(5).data)
    with (
        receiver(protocol, answers) as server,
        sender_to(server.url, health, protocol, compression="none", queue_bytes=20 * size) as sender,
    ):
        for at in range(100):
            sender.send(request_of(5, first=5 * at))
        sender.flush(time.monotonic() + 20)
        exported = health.count("records_exported")
        assert len(server.records) == exported + health.count("records_rejected", code="partial_success")
    assert balanced(health)
    assert account(health)["records_captured"] == 500
    assert "records_pending" not in account(health)
