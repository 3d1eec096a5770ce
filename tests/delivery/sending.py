"""A sender as the agent makes it, impatient: what every delivery test over a real connection sends with."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from natlens.config import Options
from natlens.delivery.otlp import open_sender
from natlens.delivery.retry import Backoff
from natlens.delivery.sender import Sender
from natlens.delivery.settings import read_settings
from natlens.health import Health
from natlens.otlp.request import Signal
from tests.delivery.account import account, request_of
from tests.delivery.server import Answer, Fail, Receiver

__all__ = ["QUICK", "deliver", "receiver", "sender_to", "unavailable"]

QUICK = Backoff(initial_s=0.02, max_s=0.1)


def receiver(protocol: str, answers: Iterable[Answer] = (), **settings: Any) -> Receiver:
    """Return a receiver for a protocol as the options name it."""
    return Receiver(answers, transport="grpc" if protocol == "grpc" else "http", **settings)


def unavailable(protocol: str) -> Fail:
    """Return a failure that may pass."""
    return Fail(grpc.StatusCode.UNAVAILABLE if protocol == "grpc" else 503)


@contextmanager
def sender_to(
    url: str,
    health: Health,
    protocol: str,
    *,
    queue_bytes: int = 64 << 20,
    request_bytes: int = 4_000_000,
    backoff: Backoff = QUICK,
    signal: Signal = "logs",
    **options: Any,
) -> Iterator[Sender]:
    """Yield a sender to ``url``, closed at the end; ``options`` are natlens' own."""
    settings = read_settings(Options(endpoint=url, protocol=protocol, **options), {}, signal)  # type: ignore[arg-type]
    assert settings
    sender = open_sender(settings, health, queue_bytes=queue_bytes, request_bytes=request_bytes, backoff=backoff)
    try:
        yield sender
    finally:
        sender.close()


def deliver(
    protocol: str, answers: Iterable[Answer], *, within_s: float = 5.0, signal: Signal = "logs"
) -> tuple[dict[str, int], Receiver, Health]:
    """Send 5 records to a receiver that answers so; return the account, the receiver and all counters."""
    health = Health()
    with receiver(protocol, answers) as server, sender_to(server.url, health, protocol, signal=signal) as sender:
        sender.send(request_of(5, signal=signal))
        sender.flush(time.monotonic() + within_s)
    return account(health, signal), server, health
