"""Refusals: a Status of the API, as the body of an answer or the object of an ERROR event."""

import msgspec
from msgspec import Struct

from natlens.identity.api.failure import Failure
from natlens.identity.api.protobuf import status_of

__all__ = ["one_line", "refusal"]


class _Cause(Struct):
    reason: str = ""


class _Details(Struct, rename="camel"):
    causes: list[_Cause] | None = None
    retry_after_seconds: int = 0


class _Status(Struct):
    code: int = 0
    message: str = ""
    details: _Details | None = None


_decoder = msgspec.json.Decoder(_Status)


def refusal(raw: bytes, *, protobuf: bool, status: int = 0, retry_after_s: float | None = None) -> Failure:
    """Return the failure that a Status describes; what HTTP itself said comes first, and alone if this is no Status.

    Without an HTTP status it is that of an ERROR event.
    """
    try:
        found = _read(raw, protobuf=protobuf)
    except (ValueError, RecursionError):
        found = _Status()
    details = found.details or _Details()
    code = status or found.code
    causes = [cause.reason for cause in details.causes or ()]
    return Failure(
        code=str(code),
        message=one_line(found.message or "the server gives no reason"),
        status=code,
        retry_after_s=retry_after_s or details.retry_after_seconds or None,
        event=not status,
        too_large=code == 504
        and ("ResourceVersionTooLarge" in causes or "Too large resource version" in found.message),
    )


def one_line(text: str) -> str:
    """Return what others wrote, fit for one line of a log."""
    text = " ".join(text[:500].split())
    return text if text.isprintable() else ascii(text)


def _read(raw: bytes, *, protobuf: bool) -> _Status:
    if not protobuf:
        return _decoder.decode(raw)
    found = status_of(raw)
    causes = [_Cause(cause.reason) for cause in found.details.causes]
    return _Status(found.code, found.message, _Details(causes, found.details.retryAfterSeconds))
