"""A Kubernetes API server that does what a test tells it: lists and watches over HTTP(S), faults included."""

import socket
import ssl
import sys
import threading
from types import TracebackType
from typing import Any, Self

from tests.collector.tls import Tls
from tests.identity.api.handler import ApiHttpServer, Handler, Served
from tests.identity.api.store import Store

__all__ = ["ApiServer"]


class ApiServer(Served):
    """A context manager: serves ``store`` at ``url``; faults, and the log of requests, are in its base ``Script``.

    Args:
        protobuf: whether it speaks it; else it answers in JSON, as some proxies do.
        bookmarks_s: seconds between bookmarks, None for a server that sends none.
        tls: its certificate.
        port: 0 for any.
    """

    def __init__(
        self, *, protobuf: bool = True, bookmarks_s: float | None = 0.05, tls: Tls | None = None, port: int = 0
    ) -> None:
        super().__init__()
        self.store = Store()
        self.protobuf, self.bookmarks_s = protobuf, bookmarks_s
        self._server = _Server(self, port)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.cert, tls.key)
            if tls.client_ca is not None:
                context.load_verify_locations(tls.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.port = int(self._server.server_address[1])
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.leaving.set()
        with self.store.changed:
            self.store.changed.notify_all()
        self._server.shutdown()
        self._thread.join()
        self._server.close_connections()
        self._server.server_close()


class _Server(ApiHttpServer):
    daemon_threads = False

    def __init__(self, api: ApiServer, port: int) -> None:
        self.api = api
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in list(self._open):
            try:
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
