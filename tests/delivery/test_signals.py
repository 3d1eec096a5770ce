"""Several signals beside each other: what one receiver does to one of them is nothing to the others."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from natlens.config import Options
from natlens.delivery.otlp import open_senders
from natlens.delivery.sender import Sender
from natlens.delivery.settings import read_settings
from natlens.health import Health
from natlens.otlp.request import UNITS, Signal
from tests.collector.ports import free_port
from tests.delivery.account import account, balanced, counted, eventually, request_of, sequences, units_of
from tests.delivery.conftest import SIGNALS
from tests.delivery.sending import QUICK, receiver, sender_to, unavailable
from tests.delivery.server import Answer, Ok, Receiver

GENERAL = "OTEL_EXPORTER_OTLP_"


class Partly(Receiver):
    """A receiver that hangs for one signal and takes the others."""

    def __init__(self, protocol: str, hangs: Signal) -> None:
        super().__init__(transport="grpc" if protocol == "grpc" else "http")
        self._hangs = hangs

    def attempt(self, raw: bytes, metadata: Mapping[str, str | bytes], signal: Signal = "logs") -> Answer:
        answer = super().attempt(raw, metadata, signal)
        return Ok(delay_s=60) if signal == self._hangs else answer


@contextmanager
def senders_to(urls: Mapping[Signal, str], health: Health, protocol: str) -> Iterator[dict[Signal, Sender]]:
    """Yield a sender for each signal, each with an endpoint variable of its own."""
    environ = {f"{GENERAL}{signal.upper()}_ENDPOINT": url for signal, url in urls.items()}
    environ |= {GENERAL + "PROTOCOL": protocol}
    if protocol != "grpc":
        environ |= {f"{GENERAL}{signal.upper()}_ENDPOINT": f"{url}/v1/{signal}" for signal, url in urls.items()}
    settings = [one for signal in SIGNALS if (one := read_settings(Options(), environ, signal))]
    senders = open_senders(settings, health, backoff=QUICK)
    with ExitStack() as stack:
        for sender in senders.values():
            stack.callback(sender.close)
        yield senders


def flush(senders: Mapping[Signal, Sender], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    with ThreadPoolExecutor(len(senders)) as pool:
        list(pool.map(lambda sender: sender.flush(deadline), senders.values()))


def check_one_hangs(senders: Mapping[Signal, Sender], health: Health, hanging: Signal) -> None:
    """Send; every other signal is delivered within a second, and the flush ends at its deadline."""
    started = time.monotonic()
    for at in range(20):
        for signal, sender in senders.items():
            sender.send(request_of(5, 5 * at, signal=signal))
    others = [signal for signal in senders if signal != hanging]
    for signal in others:
        eventually(lambda signal=signal: account(health, signal) == counted(  # type: ignore[misc]
            signal, captured=100, exported=100), within_s=2)  # fmt: skip
    assert time.monotonic() - started < 2
    flush(senders, 0.3)
    assert account(health, hanging) == counted(hanging, captured=100, **{"dropped{reason=shutdown}": 100})


def test_a_receiver_that_hangs_for_one_signal_delays_no_other(protocol: str, signal: Signal) -> None:
    health = Health()
    with (
        Partly(protocol, signal) as server,
        senders_to(dict.fromkeys(SIGNALS, server.url), health, protocol) as senders,
    ):
        check_one_hangs(senders, health, signal)
        for other in SIGNALS:
            assert sum(len(units_of(other, raw)) for raw in server.taken_of(other)) == (0 if other == signal else 100)


def test_a_signals_own_receiver_that_hangs_delays_no_other(protocol: str) -> None:
    health = Health()
    with receiver(protocol, [Ok(delay_s=60)] * 20) as hung, receiver(protocol) as server:
        urls: dict[Signal, str] = {"logs": server.url, "metrics": hung.url, "traces": server.url}
        with senders_to(urls, health, protocol) as senders:
            check_one_hangs(senders, health, "metrics")
        assert set(hung.signals) == {"metrics"}
        assert set(server.signals) == {"logs", "traces"}


def test_a_full_queue_of_one_signal_drops_nothing_of_another() -> None:
    health, port = Health(), free_port("127.0.0.1")
    settings = [read_settings(Options(endpoint=f"http://127.0.0.1:{port}"), {}, signal) for signal in SIGNALS]
    senders = open_senders([one for one in settings if one], health, queue_bytes=9000)
    assert [health.snapshot()[f"queue_capacity_bytes{{signal={signal}}}"] for signal in SIGNALS] == [4000, 1000, 4000]
    for at in range(50):
        senders["metrics"].send(request_of(5, 5 * at, signal="metrics"))
    senders["logs"].send(request_of(5))
    senders["traces"].send(request_of(5, signal="traces"))
    assert health.count("points_dropped", reason="queue_full") > 0
    assert account(health, "logs") == counted("logs", captured=5, pending=5)
    assert account(health, "traces") == counted("traces", captured=5, pending=5)
    for sender in senders.values():
        sender.close()
    assert all(balanced(health, signal) for signal in SIGNALS)


def test_every_signal_is_accounted_for_over_an_outage(protocol: str, signal: Signal) -> None:
    health, port = Health(), free_port("127.0.0.1")
    with sender_to(f"http://127.0.0.1:{port}", health, protocol, signal=signal) as sender:
        for at in range(20):
            sender.send(request_of(5, 5 * at, signal=signal))
        eventually(lambda: health.count("export_retries", code="unavailable", signal=signal) >= 2)
        assert account(health, signal) == counted(signal, captured=100, pending=100)
        assert health.snapshot()[f"queue_bytes{{signal={signal}}}"] > 0
        with receiver(protocol, port=port) as server:
            sender.flush(time.monotonic() + 10)
            arrived = [number for raw in server.taken_of(signal) for number in sequences(units_of(signal, raw))]
    assert sorted(arrived) == list(range(100))
    assert account(health, signal) == counted(signal, captured=100, exported=100)
    assert health.snapshot()[f"queue_bytes{{signal={signal}}}"] == 0
    assert health.count("export_count", signal=signal) == 20 + health.count("export_retries", signal=signal)
    assert health.count("export_time_us", signal=signal) > 0


def test_points_keep_their_order_through_failures_and_requests_that_are_too_large(protocol: str) -> None:
    health = Health()
    answers = [answer for _ in range(8) for answer in (Ok(), unavailable(protocol))]
    with (
        receiver(protocol, answers, message_bytes=200_000) as server,
        sender_to(server.url, health, protocol, signal="metrics", requests_in_flight=16) as sender,
    ):
        for at in range(10):
            sender.send(request_of(100, 100 * at, 5000 if at == 3 else 1000, "metrics"))
        sender.flush(time.monotonic() + 20)
        arrived = [number for raw in server.taken for number in sequences(units_of("metrics", raw))]
    assert arrived == list(range(1000))
    assert account(health, "metrics") == counted("metrics", captured=1000, exported=1000)
    assert health.count("export_retries") >= 4


def test_a_storm_of_faults_balances_for_every_signal(protocol: str) -> None:
    answers = [unavailable(protocol) if at % 3 else Ok(rejected=at % 4, message="old") for at in range(60)]
    health = Health()
    with receiver(protocol, answers) as server:
        with senders_to(dict.fromkeys(SIGNALS, server.url), health, protocol) as senders:
            for at in range(30):
                for signal, sender in senders.items():
                    sender.send(request_of(5, 5 * at, signal=signal))
            flush(senders, 20)
        for signal in SIGNALS:
            counts = account(health, signal)
            assert counts[f"{UNITS[signal]}_captured"] == 150
            assert sum(len(units_of(signal, raw)) for raw in server.taken_of(signal)) == 150
            assert sum(counts.values()) == 300  # nothing is pending
