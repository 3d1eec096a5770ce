"""From settings to a running sender."""

from natlens import __version__
from natlens.delivery.compression import codec
from natlens.delivery.grpc import GrpcBinding
from natlens.delivery.http import HttpBinding
from natlens.delivery.retry import Backoff
from natlens.delivery.sender import Sender
from natlens.delivery.settings import OtlpSettings
from natlens.delivery.transport import CurlTransport
from natlens.health import Health
from natlens.otlp.request import REQUEST_BYTES

__all__ = ["USER_AGENT", "open_sender"]

USER_AGENT = f"natlens/{__version__} OTel-OTLP-Exporter-Python/{__version__}"
"""OTLP exporter, User Agent: the exporter's own, and before it the distribution's product identifier."""


def open_sender(
    settings: OtlpSettings,
    health: Health,
    *,
    queue_bytes: int = 64 << 20,
    request_bytes: int = REQUEST_BYTES,
    backoff: Backoff | None = None,
) -> Sender:
    """Return a sender that connects when the first request is sent."""
    packing = codec(settings.compression)
    kind: type[GrpcBinding | HttpBinding] = GrpcBinding if settings.protocol == "grpc" else HttpBinding
    return Sender(
        settings.target,
        kind(settings, packing, USER_AGENT),
        CurlTransport(settings),
        packing,
        health,
        queue_bytes=queue_bytes,
        request_bytes=request_bytes,
        requests_in_flight=settings.requests_in_flight,
        backoff=backoff,
    )
