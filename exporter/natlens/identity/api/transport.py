"""GET over the official client's connection pools: streamed, counted as on the wire, and cut by any thread."""

import socket
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode

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

from natlens.identity.api.access import Access, Credentials
from natlens.identity.api.failure import Failure
from natlens.identity.api.official import official
from natlens.identity.api.status import one_line

__all__ = ["Answer", "Line"]

CONNECT_SECONDS = 5.0
CHUNK_BYTES = 64 << 10
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
        fail: Callable[[Exception, str], Failure],
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
                raise self._fail(error, "the answer") from error
            if not chunk:
                return
            self._count(len(chunk))
            yield chunk


class Line:
    """One connection to the API at a time, of one thread; ``count`` gets the octets of every body as on the wire."""

    def __init__(self, access: Access, count: Callable[[int], None]) -> None:
        self._access, self._count = access, count
        self._generation: int | None = None
        self._rest: Any = None
        self._connection: Any = None
        self._cut = False

    def get(self, path: str, query: Mapping[str, str], accept: str, *, gzip: bool, timeout_s: float) -> Answer:
        """Return the answer when its headers are there.

        ``timeout_s``: for the headers, and for every read of the body. After a 401 the credentials are loaded anew,
        for the next request. Raises :class:`Failure`.
        """
        credentials = self._access.credentials()
        url = f"{str(credentials.configuration.host).rstrip('/')}{path}?{urlencode(query)}"
        headers = {"Accept": accept, "Accept-Encoding": "gzip" if gzip else "identity", "User-Agent": "natlens"}
        if credentials.authorization:
            headers["Authorization"] = credentials.authorization
        pools = self._pools(credentials, url)
        options = {"timeout": urllib3.Timeout(connect=CONNECT_SECONDS, read=timeout_s), "retries": False}
        try:  # no redirects: the token is for this server
            response = pools.request("GET", url, headers=headers, redirect=False, preload_content=False, **options)
        except EXCEPTIONS as error:
            raise self._failure(error, self._access.server) from error
        if response.status == 401:
            self._access.refused(credentials)
        return Answer(response, self._count, self._failure)

    def cut(self) -> None:
        """End what the line's thread waits for, and every request after it; for any thread."""
        self._cut = True
        found = getattr(self._connection, "sock", None)
        if found is not None:
            with suppress(OSError, ValueError):
                socket.socket.shutdown(found, socket.SHUT_RDWR)  # beneath TLS: its own is not for two threads

    def close(self) -> None:
        """Close the connections; of the line's own thread."""
        if self._rest is not None:
            self._rest.pool_manager.clear()

    def _pools(self, credentials: Credentials, url: str) -> Any:
        """Return the official client's pools, new ones for a new configuration."""
        if stopped := self._stopped():
            raise stopped
        if credentials.generation != self._generation:
            self.close()
            try:
                self._rest = official().rest.RESTClientObject(credentials.configuration)
            except ImportError as error:
                raise Failure("connect", f"the proxy {credentials.configuration.proxy}: pip install PySocks") from error
            self._generation = credentials.generation
        pool = self._rest.pool_manager.connection_from_url(url)
        if not isinstance(pool.ConnectionCls, _Remembering):
            pool.ConnectionCls = _Remembering(pool.ConnectionCls, self._remember)
        return self._rest.pool_manager

    def _remember(self, connection: object) -> None:
        self._connection = connection

    def _failure(self, error: Exception, what: str) -> Failure:
        return self._stopped() or _failure(error, what)

    def _stopped(self) -> Failure | None:
        return Failure("stopped", "stopped") if self._cut else None


class _Remembering:
    """Makes connections and tells of them: a pool hides those that are in use."""

    def __init__(self, make: Callable[..., object], tell: Callable[[object], None]) -> None:
        self._make, self._tell = make, tell

    def __call__(self, *arguments: Any, **named: Any) -> object:
        connection = self._make(*arguments, **named)
        self._tell(connection)
        return connection


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


def _failure(error: Exception, what: str) -> Failure:
    """Return the failure that an exception of urllib3 means."""
    words = one_line(str(getattr(error, "reason", None) or error))
    match error:
        case SSLError():
            return Failure("tls", f"{what}: {words}")
        case ReadTimeoutError():
            return Failure("timeout", f"{what}: nothing came in time")
        case NameResolutionError() | ConnectTimeoutError() | ProxyError():
            return Failure("connect", f"{what}: {words}")
        case ProtocolError() | HTTPException() | ValueError() | AttributeError():
            return Failure("truncated", f"{what}: the connection was closed within it")
    return Failure("connect", f"{what}: {words}")


def _seconds(text: str) -> float | None:
    """Return Retry-After in seconds; dates, which Kubernetes does not send, are no answer."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None
