"""An OTLP receiver that does what a test tells it: a real server on loopback, over gRPC or HTTP, faults included."""

from collections.abc import Iterable
from types import TracebackType
from typing import Literal, Self

import grpc

from tests.collector.tls import Tls
from tests.delivery.grpc_server import GrpcServer
from tests.delivery.http_server import HttpServer
from tests.delivery.script import Answer, Fail, Ok, Raw, Reset, Script

__all__ = ["Answer", "Fail", "Ok", "Raw", "Receiver", "Reset"]

Transport = Literal["grpc", "http"]


class Receiver(Script):
    """A context manager: ``answers`` are given in order, then every request is taken; what came is in :class:`Script`.

    Over gRPC it takes gzip or nothing (so grpcio), over HTTP also zstd. It listens in the network namespace that its
    maker is in, from its making on, and answers from ``start()`` on.
    """

    def __init__(
        self,
        answers: Iterable[Answer] = (),
        *,
        transport: Transport = "grpc",
        port: int = 0,
        message_bytes: int = 4 << 20,
        tls: Tls | None = None,
    ) -> None:
        super().__init__(answers)
        for answer in self.answers:
            _check(answer, transport)
        kind: type[GrpcServer | HttpServer] = GrpcServer if transport == "grpc" else HttpServer
        self._server = kind(self, port=port, message_bytes=message_bytes, tls=tls)
        self.port = self._server.port
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def stop(self) -> None:
        """End every connection, answered or not; it cannot be started again (another one can, on its port)."""
        self.leaving.set()
        self._server.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def _check(answer: Answer, transport: Transport) -> None:
    """Refuse an answer that the transport has no words for, here and not in a thread of the server."""
    match answer:
        case Ok():
            return
        case Fail(code=grpc.StatusCode(), retry_s=None | int() | float()) if transport == "grpc":
            return
        case Fail(code=int()) | Raw() | Reset() if transport == "http":
            return
    raise TypeError(f"{answer} cannot be said over {transport}")
