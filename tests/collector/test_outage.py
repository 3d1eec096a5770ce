"""The real Collector absent, restarted, killed, stalled, cut off, too small: nothing is lost, little comes twice."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from natlens.delivery.compression import Compression
from natlens.delivery.sender import Sender
from natlens.health import Health
from natlens.otlp.request import Request
from tests.collector.flows import requests_of, times
from tests.collector.process import Collector
from tests.delivery.account import account, eventually
from tests.delivery.relay import Relay
from tests.delivery.sending import sender_to

PACE_S = 0.005
OUTAGES = 3
UNANSWERED = "unavailable", "deadline_exceeded"  # codes of attempts that may have been cut off without an answer
BOUNDLESS = 1 << 30
LIMITS = {"grpc": (4 << 20, 6_000), "http/protobuf": (20 << 20, 12_000)}
"""What the Collector takes at once, after decompression, and so many records that it is too much."""


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    """Requests of 100 kB."""
    return requests_of(12_000, request_records=50)


@pytest.fixture
def collector(collector_binary: Path, tmp_path: Path, transport: Literal["grpc", "http"]) -> Iterator[Collector]:
    """A Collector that is not started; whatever it acknowledged is in its file."""
    made = Collector(collector_binary, tmp_path, transport=transport, writes="proto", buffered=False)
    yield made
    made.stop()


def put(sender: Sender, requests: Sequence[Request], pace_s: float = 0.0) -> None:
    for request in requests:
        sender.send(request)
        time.sleep(pace_s)


@contextmanager
def meanwhile(sender: Sender, requests: Sequence[Request]) -> Iterator[None]:
    """Keep putting requests within the block, a while longer if it is over sooner; then deliver them."""
    feeder = threading.Thread(target=put, args=(sender, requests, PACE_S))
    feeder.start()
    try:
        yield
    finally:
        feeder.join()
    sender.flush(time.monotonic() + 30)


def mid_run(health: Health) -> None:
    """Return once more was exported than at the call."""
    before = health.count("records_exported")
    eventually(lambda: health.count("records_exported") > before)


def missed(health: Health, retries_before: int) -> None:
    """Return once a request failed because of the outage."""
    eventually(lambda: health.count("export_retries") > retries_before)


def check(collector: Collector, requests: Sequence[Request], health: Health, *, twice: int | None = None) -> None:
    """Hold what was written against what was sent: every record is there, and it alone.

    ``twice`` is how many more requests may have come than were sent; if not given, as many as attempts of natlens
    ended without an answer.
    """
    collector.stop()
    check_account(requests, health)
    if twice is None:
        twice = sum(health.count("export_retries", code=code) for code in UNANSWERED)
    written = collector.messages()
    arrived, sent = times(written), times(request.data for request in requests)
    assert set(sent.values()) == {1}
    assert arrived.keys() == sent.keys()
    assert max(arrived.values()) <= 1 + twice
    assert len(written) <= len(requests) + twice


def check_account(requests: Sequence[Request], health: Health) -> None:
    n_records = sum(request.records for request in requests)
    assert account(health) == {"records_captured": n_records, "records_exported": n_records}


def test_absent_at_the_start_gets_everything_once_when_it_comes(
    collector: Collector, requests: list[Request], protocol: str
) -> None:
    health = Health()
    with sender_to(collector.url, health, protocol) as sender:
        put(sender, requests)
        missed(health, 1)
        collector.start()
        sender.flush(time.monotonic() + 30)
    check(collector, requests, health, twice=0)


def test_restarted_again_and_again_while_requests_come_gets_everything_once(
    collector: Collector, requests: list[Request], protocol: str
) -> None:
    health = Health()
    collector.start()
    with sender_to(collector.url, health, protocol) as sender, meanwhile(sender, requests):
        for _ in range(OUTAGES):
            mid_run(health)
            retries = health.count("export_retries")
            collector.stop()
            missed(health, retries)
            collector.start()
    check(collector, requests, health, twice=0)


def test_killed_again_and_again_in_mid_run_gets_everything(
    collector: Collector, requests: list[Request], protocol: str
) -> None:
    health = Health()
    collector.start()
    with sender_to(collector.url, health, protocol, compression="none") as sender, meanwhile(sender, requests):
        for _ in range(OUTAGES):
            mid_run(health)
            retries = health.count("export_retries")
            collector.kill()
            missed(health, retries)
            collector.start()
    check(collector, requests, health)


def test_stalled_in_mid_run_gets_everything_when_it_goes_on(
    collector: Collector, requests: list[Request], protocol: str
) -> None:
    health = Health()
    collector.start()
    with sender_to(collector.url, health, protocol, timeout=0.3) as sender, meanwhile(sender, requests):
        mid_run(health)
        os.kill(collector.pid, signal.SIGSTOP)
        try:
            eventually(lambda: health.count("export_retries", code="deadline_exceeded") >= 2)
        finally:
            os.kill(collector.pid, signal.SIGCONT)
    check(collector, requests, health)


@pytest.mark.parametrize("in_flight", [1, 4])
def test_connections_reset_in_mid_body_cost_the_requests_that_were_on_their_way(
    collector: Collector, requests: list[Request], protocol: str, in_flight: int
) -> None:
    """A request on a connection that had served before is sent again by libcurl itself: no retry of natlens."""
    health = Health()
    collector.start()
    rounds = [requests[at : at + 20] for at in range(0, 100, 20)]
    with (
        Relay(collector.host, collector.port) as relay,
        sender_to(relay.url, health, protocol, compression="none", requests_in_flight=in_flight) as sender,
    ):
        for number, part in enumerate(rounds):
            relay.cut_after(len(part[0].data) * (5 + number) // 10)
            put(sender, part)
            eventually(lambda: not health.snapshot()["records_pending"])
        assert in_flight > 1 or relay.connections == 1 + len(rounds)
    streams = in_flight if protocol == "grpc" else 1
    assert 1 <= health.count("export_retries", code="unavailable") <= len(rounds) * streams
    check(collector, requests[:100], health, twice=len(rounds) * streams if in_flight > 1 else 0)


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_more_than_it_takes_at_once_is_divided_until_everything_arrives_once(
    collector: Collector, protocol: str, compression: Compression
) -> None:
    health = Health()
    takes, n_records = LIMITS[protocol]
    large = requests_of(n_records, request_records=n_records, request_bytes=BOUNDLESS)
    assert [len(request.data) > takes for request in large] == [True]
    collector.start()
    with sender_to(collector.url, health, protocol, compression=compression, request_bytes=BOUNDLESS) as sender:
        put(sender, large)
        sender.flush(time.monotonic() + 30)
    collector.stop()
    check_account(large, health)
    assert health.count("export_retries") == 0
    written = collector.messages()
    assert len(written) > 1
    assert times(written) == times([large[0].data])
