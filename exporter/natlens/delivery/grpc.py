"""OTLP/gRPC as HTTP/2 requests and answers: each signal's ``Export``, without I/O.

Sections named in here are of "gRPC over HTTP2" (PROTOCOL-HTTP2.md) and of the OTLP specification.
"""

import re
from base64 import b64decode
from typing import Final
from urllib.parse import unquote

from natlens.delivery.compression import Codec
from natlens.delivery.exchange import Answer, HttpRequest, one_line
from natlens.delivery.partial import read_response
from natlens.delivery.retry import Delivered, Outcome, Refused, Retry, TooLarge
from natlens.delivery.settings import OtlpSettings
from natlens.delivery.status import Details, read_status
from natlens.otlp.request import Signal

__all__ = ["CODES", "RETRYABLE", "GrpcBinding"]

SERVICES: Final[dict[Signal, str]] = {
    "logs": "logs.v1.LogsService",
    "metrics": "metrics.v1.MetricsService",
    "traces": "trace.v1.TraceService",
}
PREFIX_BYTES: Final = 5
"""Before each message: whether it is compressed (1 byte), its length (4, big endian)."""

CODES: Final = (
    *("ok", "cancelled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists"),
    *("permission_denied", "resource_exhausted", "failed_precondition", "aborted", "out_of_range", "unimplemented"),
    *("internal", "unavailable", "data_loss", "unauthenticated"),
)
"""Status codes by number."""

RETRYABLE: Final = frozenset({"cancelled", "deadline_exceeded", "aborted", "out_of_range", "unavailable", "data_loss"})
"""OTLP/gRPC Response, Failures; ``resource_exhausted`` as well where the server says when."""

BY_HTTP_STATUS: Final = {
    400: "internal",
    401: "unauthenticated",
    403: "permission_denied",
    404: "unimplemented",
    429: "unavailable",
    502: "unavailable",
    503: "unavailable",
    504: "unavailable",
}
"""HTTP to gRPC Status Code Mapping, of answers without a gRPC status; all others are ``unknown``."""

# grpc-go, C-core: "received message larger than max"; grpc-go: "… after decompression larger than max";
# grpc-java: "gRPC message exceeds maximum size"; tonic: "decoded message length too large"
SIZE = re.compile(r"message (after decompression )?larger than max|exceeds maximum size|message length too large", re.I)


class GrpcBinding:
    """A :class:`~natlens.delivery.exchange.Binding` for OTLP/gRPC."""

    def __init__(self, settings: OtlpSettings, codec: Codec, user_agent: str) -> None:
        self._url = f"{settings.url}/opentelemetry.proto.collector.{SERVICES[settings.signal]}/Export"
        self._signal = settings.signal
        self._codec = codec
        self._compressed = codec.encoding != "identity"
        self._headers = (
            ("content-type", "application/grpc+proto"),
            ("te", "trailers"),
            ("grpc-timeout", f"{max(1, round(settings.timeout_s * 1000))}m"),
            *([("grpc-encoding", codec.encoding)] if self._compressed else []),
            ("grpc-accept-encoding", f"identity,{codec.encoding}" if self._compressed else "identity"),
            ("user-agent", user_agent),
            *settings.headers,
        )

    def request(self, payload: bytes) -> HttpRequest:
        """Return the request of one call: the message behind its prefix (Length-Prefixed-Message)."""
        prefix = bytes([self._compressed]) + len(payload).to_bytes(4, "big")
        return HttpRequest(self._url, self._headers, prefix + payload)

    def outcome(self, answer: Answer) -> Outcome:
        """Return what a status means (OTLP/gRPC Response), wherever it stood: in headers or trailers."""
        code, message = _status(answer)
        if code == "ok":
            return self._delivered(answer)
        details = _details(answer.headers.get("grpc-status-details-bin", ""))
        if code in ("resource_exhausted", "out_of_range") and details.after_s is None and SIZE.search(message):
            return TooLarge(code, message)
        if code in RETRYABLE or (code == "resource_exhausted" and details.after_s is not None):
            return Retry(code, message, details.after_s)
        return Refused(code, message)

    def _delivered(self, answer: Answer) -> Delivered:
        try:
            message = self._message(answer)
        except ValueError as error:
            return Delivered(message=f"its answer is not one gRPC message: {error}")
        return read_response(message, self._signal)

    def _message(self, answer: Answer) -> bytes:
        """Return an answer's one message; grpc-go compresses it as the request was, whatever it was told to accept."""
        compressed, message = answer.body[:1], answer.body[PREFIX_BYTES:]
        if int.from_bytes(answer.body[1:PREFIX_BYTES], "big") != len(message):
            raise ValueError("its length is not what its prefix says")
        if compressed == b"\1" and answer.headers.get("grpc-encoding") == self._codec.encoding:
            return self._codec.decompress(message)
        if compressed != b"\0":
            raise ValueError("it is compressed in a way that was not accepted")
        return message


def _status(answer: Answer) -> tuple[str, str]:
    """Return code and message; an answer without a status is judged by HTTP's."""
    number = answer.headers.get("grpc-status")
    if number is not None:
        known = number.isascii() and number.isdecimal() and len(number) <= 2 and int(number) < len(CODES)
        code = CODES[int(number)] if known else "unknown"
        return code, one_line(unquote(answer.headers.get("grpc-message", "")))
    kind = one_line(answer.headers.get("content-type", "none"))
    what = f"the answer (HTTP {answer.status}, content-type {kind}) has no gRPC status"
    if not kind.startswith("application/grpc"):
        what += "; is this an OTLP/HTTP port? gRPC is usually 4317"
    return BY_HTTP_STATUS.get(answer.status, "unknown"), what


def _details(encoded: str) -> Details:
    """Return what ``grpc-status-details-bin`` says: base64 with or without padding (Binary Headers)."""
    if not encoded:
        return Details()
    try:
        return read_status(b64decode(encoded + "=" * (-len(encoded) % 4))) or Details()
    except ValueError:
        return Details()
