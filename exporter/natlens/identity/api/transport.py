"""GET over the official client's connection pools: streamed, counted as on the wire, and cut by any thread."""

import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import urllib3

from natlens.identity.api.access import Access, Credentials
from natlens.identity.api.answer import EXCEPTIONS, Answer, failure_of
from natlens.identity.api.failure import Failure
from natlens.identity.api.official import official

__all__ = ["Line"]

CONNECT_SECONDS = 5.0


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
            raise self._failure(error) from error
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

    def _failure(self, error: Exception) -> Failure:
        return self._stopped() or failure_of(error)

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
