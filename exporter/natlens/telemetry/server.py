"""A small HTTP server that nobody can hold up: few connections at once, each for a few seconds."""

import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, NamedTuple

from natlens.health import Health

__all__ = ["Answer", "Page", "Server"]

CONNECTIONS = 8
LIFE_S = 10.0
POLL_S = 0.25
TEXT = "text/plain; charset=utf-8"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Answer(NamedTuple):
    """What a page says."""

    status: HTTPStatus
    body: bytes
    content_type: str = TEXT


Page = Callable[[], Answer]
"""Called in a connection's thread; may be called by several at once."""


class Server:
    """Serves GET and HEAD of ``pages`` (path → page) on a socket that listens, in threads of its own, until closed.

    Of more than :data:`CONNECTIONS` at once the newest are sent away with 503; a connection ends after ``life_s``
    seconds, whatever its client does. Counts ``listen_answers{path,code}`` and ``listen_refused{reason}``.
    """

    def __init__(
        self, listener: socket.socket, pages: Mapping[str, Page], health: Health, *, life_s: float = LIFE_S
    ) -> None:
        self._server = _Server(listener, pages, health, life_s)
        self.port: int = listener.getsockname()[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_S,), name="natlens-listen", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening and end all connections; takes half a second at the most."""
        self._server.shutdown()
        self._server.end_all()
        self._server.server_close()
        self._thread.join(2 * POLL_S)


class _Server(HTTPServer):
    def __init__(self, listener: socket.socket, pages: Mapping[str, Page], health: Health, life_s: float) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.pages, self.health, self.life_s = pages, health, life_s
        self._lock = threading.Lock()
        self._open: dict[socket.socket, float] = {}

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve in a thread, or send away."""
        with self._lock:
            has_room = len(self._open) < CONNECTIONS
            if has_room:
                self._open[request] = time.monotonic() + self.life_s
        if has_room:
            threading.Thread(
                target=self._serve, args=(request, client_address), name="natlens-answer", daemon=True
            ).start()
            return
        self.health.add("listen_refused", reason="busy")
        request.setblocking(False)
        with suppress(OSError):
            request.send(BUSY)
        self.shutdown_request(request)

    def _serve(self, request: socket.socket, client_address: Any) -> None:
        try:
            request.settimeout(2 * self.life_s)  # service_actions ends it before that
            self.finish_request(request, client_address)
        except OSError:  # the client went, or was ended
            pass
        finally:
            with self._lock:
                self._open.pop(request, None)
            self.shutdown_request(request)

    def service_actions(self) -> None:
        """End connections whose time is over: one that drips never runs into a time-out of the socket."""
        now = time.monotonic()
        with self._lock:
            late = [one for one, until in self._open.items() if until < now]
            for one in late:
                _end(one)
                self._open[one] = float("inf")  # its thread closes it
        self.health.add("listen_refused", len(late), reason="slow")

    def end_all(self) -> None:
        """End every connection; their threads then end by themselves."""
        with self._lock:
            for one in self._open:
                _end(one)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that could not be accepted."""


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request of one connection."""

    server: _Server

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer what is no GET or HEAD, or no HTTP, in one line of text."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            answer = Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET and HEAD\n")
            self._say(answer, with_body=True, Allow="GET, HEAD")
        else:
            self._say(Answer(HTTPStatus(code), b"this is no request that natlens answers\n"), with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        page = self.server.pages.get(path)
        if page is None:
            there = ", ".join(self.server.pages)
            self._say(Answer(HTTPStatus.NOT_FOUND, f"here are {there}\n".encode()), with_body=with_body)
            return
        answer = page()
        self.server.health.add("listen_answers", path=path, code=str(int(answer.status)))
        self._say(answer, with_body=with_body)

    def _say(self, answer: Answer, *, with_body: bool, **headers: str) -> None:
        self.send_response(answer.status)
        told = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), **headers}
        for name, value in told.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(answer.body)

    def version_string(self) -> str:
        """Return what stands in the header Server: no versions."""
        return "natlens"

    def log_message(self, *_: object) -> None:
        """Say nothing: probes come every few seconds."""
