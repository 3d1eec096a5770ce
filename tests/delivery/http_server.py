"""OTLP/HTTP for the receiver of the tests: protobuf on each signal's path, as the specification of OTLP 1.x has it."""

import gzip
import math
import os
import socket
import ssl
import struct
import sys
import threading
import zlib
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

import zstandard
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # no stubs are published

from natlens.otlp.request import UNITS, Signal
from tests.collector.tls import Tls
from tests.delivery.script import PROTOBUF, Answer, Fail, Ok, Raw, Reset, Script, response

__all__ = ["HttpServer"]

PATHS: dict[str, Signal] = {f"/v1/{signal}": signal for signal in UNITS}
POLL_SECONDS = 0.02
LINGER_0 = struct.pack("ii", 1, 0)  # on, 0 s: closing discards what is unsent and sends RST instead of FIN


class HttpServer:
    """Listens from its making on, so that a port which is taken is an error there."""

    def __init__(self, script: Script, *, port: int, message_bytes: int, tls: Tls | None) -> None:
        self._server = _Server(script, port, message_bytes, tls)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_SECONDS,))
        self.port = int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Close every connection and wait for its thread; does nothing the second time."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.close_connections()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """A thread for each connection. They are waited for at the end, so they are no daemons."""

    daemon_threads = False

    def __init__(self, script: Script, port: int, message_bytes: int, tls: Tls | None) -> None:
        self.script = script
        self.message_bytes = message_bytes
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)
        if tls is not None:
            # Not in the thread that accepts: one client's handshake would keep all the others waiting.
            self.socket = _context(tls).wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def server_bind(self) -> None:
        """Bind without asking the name service for this host's name, which nobody wants to know."""
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection: one that is kept alive would outlive the server and be answered still."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close the connection after its last answer."""
        self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Wake every thread that waits for its client."""
        for connection in list(self._open):
            try:
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # beneath TLS: its own is not for two threads
            except OSError:
                continue  # the client was faster

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away or did not like the certificate: tests do that on purpose."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: the second would wait for the client's ACK

    def do_POST(self) -> None:
        script = self.server.script
        if self.path in PATHS and (reset := script.next_reset()):
            script.cut(self.rfile.read(reset.after_bytes), self._headers(), PATHS[self.path])
            self._reset()
            return
        body = self._body()  # read in any case: the next request comes behind it
        try:
            signal, raw = self._signal(), self._request(body)
        except _RefusedError as refused:
            script.refused.append(refused.status)
            self._fail(refused.status, str(refused))
        else:
            self._answer(script.attempt(raw, self._headers(), signal), raw, signal)

    def log_message(self, *_: object) -> None:
        """Keep standard error for errors."""

    def _signal(self) -> Signal:
        if self.path not in PATHS:
            raise _RefusedError(HTTPStatus.NOT_FOUND, f"only {', '.join(PATHS)} are here")
        return PATHS[self.path]

    def _request(self, body: bytes) -> bytes:
        """Return the serialized request; raises what a receiver refuses by itself."""
        if self.headers.get("content-type") != PROTOBUF:
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"only {PROTOBUF} is taken")
        decompress = DECOMPRESS.get(self.headers.get("content-encoding"))
        if decompress is None:
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "only gzip and zstd are understood")
        try:
            raw = decompress(body)
        except (EOFError, OSError, zlib.error, zstandard.ZstdError) as error:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, f"the body cannot be decompressed: {error}") from error
        if len(raw) > self.server.message_bytes:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {self.server.message_bytes} bytes")
        return raw

    def _answer(self, answer: Answer, raw: bytes, signal: Signal) -> None:
        match answer:
            case Ok() if self.server.script.take(raw, answer, signal):
                self._reply(HTTPStatus.OK, response(answer, signal).SerializeToString())
            case Fail(code=int() as status, message=message, retry_s=retry_s):
                self._fail(status, message, retry_s)
            case Raw(body=body, status=status, content_type=content_type):
                self._reply(status, body, content_type)
            case Ok() | Reset():
                self._reset()
            case _:
                raise TypeError(f"{answer} cannot be said over HTTP")

    def _fail(self, status: int, message: str, retry_s: float | str | None = None) -> None:
        headers = {}
        if retry_s is not None:
            headers["Retry-After"] = retry_s if isinstance(retry_s, str) else str(math.ceil(retry_s))
        self._reply(status, Status(message=message).SerializeToString(), **headers)

    def _reply(self, status: int, body: bytes, content_type: str = PROTOBUF, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _headers(self) -> dict[str, str | bytes]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self._read(int(self.headers.get("content-length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self._read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return b"".join(chunks)

    def _read(self, count: int) -> bytes:
        read = self.rfile.read(count)
        if len(read) < count:
            raise ConnectionResetError(f"{len(read)} of {count} bytes came")
        return read

    def _reset(self) -> None:
        """Close at once, beneath the file objects: the ordinary way would send FIN first."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        os.close(self.connection.detach())


class _RefusedError(Exception):
    """What a receiver refuses whatever it was told to answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _unzstd(body: bytes) -> bytes:
    stream = zstandard.ZstdDecompressor().decompressobj()
    raw = stream.decompress(body)
    if not stream.eof or stream.unused_data:
        raise EOFError("not one whole frame")
    return raw


# Not "identity" by that name: the Collector refuses it, too.
DECOMPRESS: dict[str | None, Callable[[bytes], bytes]] = {None: bytes, "gzip": gzip.decompress, "zstd": _unzstd}


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.cert, tls.key)
    if tls.client_ca is not None:
        context.load_verify_locations(tls.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
