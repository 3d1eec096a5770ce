"""An answer of the API as its bytes come: status, headers, and a body that is read once."""

import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPException

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from natlens.identity.api.failure import Failure
from natlens.identity.api.status import one_line

__all__ = ["EXCEPTIONS", "Answer", "failure_of"]

CHUNK_BYTES = 64 << 10
ABOUT = re.compile(r"^\w+\([^)]*\): ")
"""How urllib3 begins its messages: with the connection, which says no more than the server's URL."""
REFUSAL_BYTES = 64 << 10
"""So much is read of an answer that refuses."""
EXCEPTIONS = HTTPError, HTTPException, OSError, ValueError, AttributeError
"""What reading can raise; the last two where the socket is closed meanwhile."""
GZIP = 31  # zlib's word for "with gzip's header"


class Answer:
    """Status, headers, and a body that is read once."""

    def __init__(
        self,
        response: urllib3.BaseHTTPResponse,
        count: Callable[[int], None],
        fail: Callable[[Exception], Failure],
    ) -> None:
        self._response, self._count, self._fail = response, count, fail
        self.status = response.status
        self.content_type = response.headers.get("content-type", "")
        self.retry_after_s = _seconds(response.headers.get("retry-after", ""))

    def chunks(self) -> Iterator[bytes]:
        """Yield the body, decompressed, as it arrives; raises :class:`Failure` if it does not arrive whole."""
        encoding = self._response.headers.get("content-encoding", "identity").lower()
        if encoding not in {"identity", "gzip"}:
            raise Failure("garbage", f"content-encoding {encoding[:60]!r} was not asked for")
        return _gunzip(self._wire()) if encoding == "gzip" else self._wire()

    def refusal(self) -> bytes:
        """Return the beginning of the body, or what of it there is."""
        body = bytearray()
        with suppress(Failure):
            for chunk in self.chunks():
                body += chunk
                if len(body) > REFUSAL_BYTES:
                    break
        return bytes(body)

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it."""
        if self._response.closed:
            self._response.release_conn()
        else:
            self._response.close()

    def _wire(self) -> Iterator[bytes]:
        while True:
            try:
                chunk = self._response.read1(CHUNK_BYTES, decode_content=False)
            except EXCEPTIONS as error:
                raise self._fail(error) from error
            if not chunk:
                return
            self._count(len(chunk))
            yield chunk


def _gunzip(wire: Iterator[bytes]) -> Iterator[bytes]:
    stream = zlib.decompressobj(GZIP)
    for chunk in wire:
        data = chunk
        while data and not stream.eof:
            try:
                piece = stream.decompress(data, CHUNK_BYTES * 16)
            except zlib.error as error:
                raise Failure("garbage", "the answer is no gzip") from error
            data = stream.unconsumed_tail
            if piece:
                yield piece
    if not stream.eof:
        raise Failure("truncated", "the compressed answer ended too early")


def failure_of(error: Exception) -> Failure:
    """Return the failure that an exception of urllib3 means."""
    words = one_line(ABOUT.sub("", str(getattr(error, "reason", None) or error)))
    match error:
        case SSLError():
            return Failure("tls", words)
        case ReadTimeoutError():
            return Failure("timeout", "nothing came in time")
        case NameResolutionError() | ConnectTimeoutError() | ProxyError():
            return Failure("connect", words)
        case ProtocolError() | HTTPException() | ValueError() | AttributeError():
            return Failure("truncated", "the connection was closed before the answer's end")
    return Failure("connect", words)


def _seconds(text: str) -> float | None:
    """Return Retry-After in seconds; dates, which Kubernetes does not send, are no answer."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None
