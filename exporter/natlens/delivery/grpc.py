"""The OTLP/gRPC client: ``LogsService/Export``.

grpc is imported only when a client is made: it costs 15 MiB of memory.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from natlens import __version__
from natlens.delivery.retry import Backoff, Delivered, Outcome, classify

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc

    from natlens.delivery.settings import OtlpSettings

__all__ = ["GrpcClient"]

EXPORT = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
STATUS_DETAILS = "grpc-status-details-bin"
CONNECT_S = 5.0


class GrpcClient:
    """A :class:`~natlens.delivery.sender.Client`; connects when the first request is sent."""

    def __init__(self, settings: OtlpSettings, backoff: Backoff | None = None) -> None:
        self.target = settings.url
        self._timeout_s = settings.timeout_s
        self._headers = settings.headers
        self._channel = _channel(settings, backoff or Backoff())
        self._export = self._channel.unary_unary(EXPORT, None, ExportLogsServiceResponse.FromString)
        self._closed = False
        self._lock = threading.Lock()

    def export(self, payload: bytes) -> Outcome:
        """Send one serialized request and wait for the answer, at most for the time-out."""
        import grpc

        with self._lock:
            if self._closed:
                return classify("cancelled", "closed", None)
            call = self._export.future(payload, timeout=self._timeout_s, metadata=self._headers)
        try:
            answer = call.result().partial_success
        except grpc.RpcError as error:
            return _failure(error)
        return Delivered(answer.rejected_log_records, answer.error_message)

    def close(self) -> None:
        """Close the channel; a running export ends as cancelled."""
        with self._lock:
            self._closed = True
            self._channel.close()


def _channel(settings: OtlpSettings, backoff: Backoff) -> grpc.Channel:
    import grpc

    options = [
        ("grpc.primary_user_agent", f"OTel-OTLP-Exporter-natlens/{__version__}"),
        ("grpc.enable_retries", 0),  # every attempt is ours, and counted
        ("grpc.use_local_subchannel_pool", 1),
        # While gRPC itself waits before it connects again (up to two minutes), every retry of ours fails at once.
        ("grpc.initial_reconnect_backoff_ms", int(min(backoff.initial_s, CONNECT_S) * 1000)),
        ("grpc.max_reconnect_backoff_ms", int(min(backoff.max_s, CONNECT_S) * 1000)),
    ]
    if settings.insecure:
        return grpc.insecure_channel(settings.target, options)
    return grpc.secure_channel(settings.target, grpc.ssl_channel_credentials(), options)


def _failure(error: grpc.RpcError) -> Outcome:
    code = error.code().name.lower()
    return classify(code, error.details() or "", _retry_delay_s(error))


def _retry_delay_s(error: grpc.RpcError) -> float | None:
    """Return the delay of the status' RetryInfo in seconds; None where there is none."""
    from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # no stubs are published
    from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

    trailers = dict(cast("Iterable[tuple[str, bytes]]", error.trailing_metadata() or ()))
    found = RetryInfo()
    try:
        details = Status.FromString(trailers.get(STATUS_DETAILS, b"")).details
        if not any(detail.Unpack(found) for detail in details):
            return None
    except DecodeError:
        return None
    return max(0.0, float(found.retry_delay.seconds + found.retry_delay.nanos / 1e9))
