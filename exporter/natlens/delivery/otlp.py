"""From settings to running senders."""

from collections.abc import Iterable

from natlens import __version__
from natlens.delivery.compression import codec
from natlens.delivery.grpc import GrpcBinding
from natlens.delivery.http import HttpBinding
from natlens.delivery.retry import Backoff
from natlens.delivery.sender import Sender
from natlens.delivery.settings import OtlpSettings
from natlens.delivery.transport import CurlTransport
from natlens.health import Health
from natlens.otlp.request import REQUEST_BYTES, Signal

__all__ = ["USER_AGENT", "open_sender", "open_senders"]

USER_AGENT = f"natlens/{__version__} OTel-OTLP-Exporter-Python/{__version__}"
"""OTLP exporter, User Agent: the exporter's own, and before it the distribution's product identifier."""

SHARES: dict[Signal, int] = {"logs": 4, "metrics": 1, "traces": 4}
"""How the queue's bytes are divided: metrics do not grow with the number of connections."""


def open_sender(
    settings: OtlpSettings,
    health: Health,
    *,
    queue_bytes: int = 64 << 20,
    request_bytes: int = REQUEST_BYTES,
    backoff: Backoff | None = None,
) -> Sender:
    """Return a sender of the settings' signal that connects when the first request is sent."""
    packing = codec(settings.compression)
    kind: type[GrpcBinding | HttpBinding] = GrpcBinding if settings.protocol == "grpc" else HttpBinding
    return Sender(
        settings.target,
        kind(settings, packing, USER_AGENT),
        CurlTransport(settings),
        packing,
        health,
        signal=settings.signal,
        queue_bytes=queue_bytes,
        request_bytes=request_bytes,
        requests_in_flight=settings.requests_in_flight,
        backoff=backoff,
    )


def open_senders(
    settings: Iterable[OtlpSettings], health: Health, *, queue_bytes: int = 64 << 20, backoff: Backoff | None = None
) -> dict[Signal, Sender]:
    """Return a sender for each of the signals, which have ``queue_bytes`` between them.

    Each has a thread, a queue and connections of its own: a receiver that hangs for one signal delays no
    other. Flush them at the same time, not one after another: one that hangs would use up the time of all.
    """
    of_signal = {one.signal: one for one in settings}
    shares = sum(SHARES[signal] for signal in of_signal)
    return {
        signal: open_sender(one, health, queue_bytes=queue_bytes * SHARES[signal] // shares, backoff=backoff)
        for signal, one in of_signal.items()
    }
