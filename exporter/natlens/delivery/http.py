"""OTLP/HTTP with binary protobuf as requests and answers, without I/O.

Sections named in here are of the OTLP specification.
"""

import time
from collections.abc import Callable
from typing import Final

from natlens.delivery.compression import Codec
from natlens.delivery.exchange import Answer, HttpRequest, one_line
from natlens.delivery.partial import read_response
from natlens.delivery.retry import Outcome, Refused, Retry, TooLarge
from natlens.delivery.settings import OtlpSettings
from natlens.delivery.status import read_status

__all__ = ["RETRYABLE", "HttpBinding"]

PROTOBUF: Final = "application/x-protobuf"

RETRYABLE: Final = frozenset({429, 502, 503, 504})
"""OTLP/HTTP Response, Retryable Response Codes."""

TOO_LARGE: Final = "request body too large"
"""What Go's servers say of it, the Collector with 400 and not, as OTLP has it, with 413."""


class HttpBinding:
    """A :class:`~natlens.delivery.exchange.Binding` for OTLP/HTTP; ``clock`` tells Unix time in seconds."""

    def __init__(
        self, settings: OtlpSettings, codec: Codec, user_agent: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._url, self._signal = settings.url, settings.signal
        self._clock = clock
        self._headers = (
            ("content-type", PROTOBUF),
            *([("content-encoding", codec.encoding)] if codec.encoding != "identity" else []),
            ("user-agent", user_agent),
            *settings.headers,
        )

    def request(self, payload: bytes) -> HttpRequest:
        """Return the request (OTLP/HTTP Request)."""
        return HttpRequest(self._url, self._headers, payload)

    def outcome(self, answer: Answer) -> Outcome:
        """Return what a status means (OTLP/HTTP Response); redirects are refusals."""
        if 200 <= answer.status < 300:
            return read_response(answer.body, self._signal)
        code, message = f"http_{answer.status}", _message(answer)
        if answer.status in RETRYABLE:
            return Retry(code, message, self._retry_after_s(answer.headers.get("retry-after", "").strip()))
        too_large = answer.status == 413 or (answer.status == 400 and TOO_LARGE in message)
        return TooLarge(code, message) if too_large else Refused(code, message)

    def _retry_after_s(self, value: str) -> float | None:
        """Return the delay of a Retry-After (RFC 9110, 10.2.3): seconds or a date; None for anything else."""
        if value.isascii() and value.isdecimal():
            return float(value[:9])
        if not value:
            return None
        from email.utils import parsedate_to_datetime

        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - self._clock())
        except (ValueError, OverflowError, TypeError):
            return None


def _message(answer: Answer) -> str:
    """Return what the body says: a ``google.rpc.Status`` (Failures), or text of whoever answered in its place."""
    if "location" in answer.headers:
        return f"redirects to {one_line(answer.headers['location'])}, which is not followed"
    if answer.headers.get("content-type", "").partition(";")[0].strip().lower() == PROTOBUF:
        status = read_status(answer.body)
        return one_line(status.message) if status else "its answer is not a google.rpc.Status"
    return one_line(answer.body[:2000].decode("utf-8", "replace"))
