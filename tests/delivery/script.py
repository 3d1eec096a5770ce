"""What a receiver of the tests is told to answer, and what came to it."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import grpc
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from natlens.otlp.request import Signal

__all__ = ["PROTOBUF", "Answer", "Fail", "Ok", "Raw", "Reset", "Script", "response"]

PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True)
class Ok:
    """Take the request, after ``delay_s``; say that ``rejected`` records of it were refused."""

    rejected: int = 0
    message: str = ""
    delay_s: float = 0.0


@dataclass(frozen=True)
class Fail:
    """Refuse the request: a status of gRPC with RetryInfo, or an HTTP status with Retry-After (in whole seconds).

    A text as ``retry_s`` is for HTTP alone and put into Retry-After as it is: a date, or nonsense.
    """

    code: grpc.StatusCode | int
    message: str = "told to fail"
    retry_s: float | str | None = None


@dataclass(frozen=True)
class Raw:
    """HTTP alone: answer with just these bytes. The request does not count as taken."""

    body: bytes
    status: int = 200
    content_type: str = PROTOBUF


@dataclass(frozen=True)
class Reset:
    """HTTP alone: read so much of the request's body, then reset the connection."""

    after_bytes: int = 0


Answer = Ok | Fail | Raw | Reset


class Script:
    """Gives ``answers`` in order, then takes everything.

    ``attempts`` holds the serialized request of every attempt, decompressed (of one that was reset: what was read of
    its body, as it came), with its signal in ``signals``, its time (monotonic, s) in ``times`` and its headers, in
    lower case, in ``metadata``. What a receiver refuses by itself (too large, compressed in a way it does not know, not
    a request) is no attempt: HTTP statuses of those are in ``refused``.
    """

    def __init__(self, answers: Iterable[Answer] = ()) -> None:
        self.answers = deque(answers)
        self.attempts: list[bytes] = []
        self.signals: list[Signal] = []
        self.times: list[float] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.refused: list[int] = []
        self.leaving = threading.Event()
        self._taken: list[tuple[Signal, bytes]] = []
        self._lock = threading.Lock()  # requests come in several threads

    @property
    def taken(self) -> list[bytes]:
        """Every request that was answered with :class:`Ok`, of whatever signal, in order of arrival."""
        return [raw for _, raw in self._taken]

    def taken_of(self, signal: Signal) -> list[bytes]:
        """Return those of one signal."""
        return [raw for of, raw in self._taken if of == signal]

    @property
    def records(self) -> list[LogRecord]:
        """Every log record that was taken, in order of arrival."""
        return [
            record
            for raw in self.taken_of("logs")
            for of_resource in ExportLogsServiceRequest.FromString(raw).resource_logs
            for of_scope in of_resource.scope_logs
            for record in of_scope.log_records
        ]

    def attempt(self, raw: bytes, metadata: Mapping[str, str | bytes], signal: Signal = "logs") -> Answer:
        """Note an attempt and return its answer."""
        with self._lock:
            self._note(raw, metadata, signal)
            return self.answers.popleft() if self.answers else Ok()

    def next_reset(self) -> Reset | None:
        """Return the next answer if it is a reset: it has to be known before the request is read."""
        with self._lock:
            if self.answers and isinstance(first := self.answers[0], Reset):
                self.answers.popleft()
                return first
        return None

    def cut(self, read: bytes, metadata: Mapping[str, str | bytes], signal: Signal = "logs") -> None:
        """Note an attempt of which no more than this was read."""
        with self._lock:
            self._note(read, metadata, signal)

    def take(self, raw: bytes, answer: Ok, signal: Signal = "logs") -> bool:
        """Take a request after the answer's delay; False if the receiver leaves before that."""
        if self.leaving.wait(answer.delay_s):
            return False
        self._taken.append((signal, raw))
        return True

    def _note(self, raw: bytes, metadata: Mapping[str, str | bytes], signal: Signal) -> None:
        self.attempts.append(raw)
        self.signals.append(signal)
        self.times.append(time.monotonic())
        self.metadata.append(dict(metadata))


def response(answer: Ok, signal: Signal = "logs") -> Message:
    """Return the message that says so: a partial success is left out where there is nothing to tell."""
    told = bool(answer.rejected or answer.message)
    match signal:
        case "logs":
            logs = ExportLogsServiceResponse()
            if told:
                logs.partial_success.rejected_log_records = answer.rejected
                logs.partial_success.error_message = answer.message
            return logs
        case "metrics":
            metrics = ExportMetricsServiceResponse()
            if told:
                metrics.partial_success.rejected_data_points = answer.rejected
                metrics.partial_success.error_message = answer.message
            return metrics
        case "traces":
            traces = ExportTraceServiceResponse()
            if told:
                traces.partial_success.rejected_spans = answer.rejected
                traces.partial_success.error_message = answer.message
            return traces
