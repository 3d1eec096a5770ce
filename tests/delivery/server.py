"""An OTLP/gRPC receiver that does what a test tells it: a real server on loopback, faults included."""

import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, Self

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # no stubs are published
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from natlens.otlp.record import records

__all__ = ["Answer", "Collector", "Fail", "Ok"]


@dataclass(frozen=True)
class Ok:
    """Take the request, after ``delay_s``; say that ``rejected`` records of it were refused."""

    rejected: int = 0
    message: str = ""
    delay_s: float = 0.0


@dataclass(frozen=True)
class Fail:
    """Refuse the request with a status; ``retry_s`` is its RetryInfo."""

    code: grpc.StatusCode
    message: str = "told to fail"
    retry_s: float | None = None


Answer = Ok | Fail


class Collector:
    """A context manager: ``answers`` are given in order, then every request is taken.

    ``attempts`` holds the raw bytes of every request that came, with its time (monotonic, s) in
    ``times``; ``taken`` those that were answered with :class:`Ok`.
    """

    def __init__(self, answers: Iterable[Answer] = (), *, port: int = 0, message_bytes: int = 4 << 20) -> None:
        self.answers = deque(answers)
        self.attempts: list[bytes] = []
        self.times: list[float] = []
        self.taken: list[bytes] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self._leaving = threading.Event()
        options = [("grpc.max_receive_message_length", message_bytes), ("grpc.so_reuseport", 0)]
        self._server = grpc.server(ThreadPoolExecutor(4), options=options)
        handler = grpc.unary_unary_rpc_method_handler(
            self._export, response_serializer=ExportLogsServiceResponse.SerializeToString
        )
        service = "opentelemetry.proto.collector.logs.v1.LogsService"
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def records(self) -> list[LogRecord]:
        """Every record that was taken, in order of arrival."""
        return [record for raw in self.taken for record in records(ExportLogsServiceRequest.FromString(raw))]

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leaving.set()
        self._server.stop(0).wait()

    def _export(self, raw: bytes, context: grpc.ServicerContext) -> ExportLogsServiceResponse:
        self.attempts.append(raw)
        self.times.append(time.monotonic())
        self.metadata.append(dict(context.invocation_metadata()))
        answer = self.answers.popleft() if self.answers else Ok()
        if isinstance(answer, Fail):
            _abort(context, answer)
        self._leaving.wait(answer.delay_s)
        self.taken.append(raw)
        response = ExportLogsServiceResponse()
        if answer.rejected or answer.message:
            response.partial_success.CopyFrom(
                ExportLogsPartialSuccess(rejected_log_records=answer.rejected, error_message=answer.message)
            )
        return response


def _abort(context: grpc.ServicerContext, answer: Fail) -> NoReturn:
    if answer.retry_s is not None:
        delay = Duration()
        delay.FromNanoseconds(int(answer.retry_s * 1e9))
        detail = AnyMessage()
        detail.Pack(RetryInfo(retry_delay=delay))
        status = Status(code=answer.code.value[0], message=answer.message, details=[detail])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(answer.code, answer.message)
