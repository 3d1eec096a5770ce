"""What a receiver of the tests is told to answer, and what came to it."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

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
    its body, as it came), with its time (monotonic, s) in ``times`` and its headers, in lower case, in ``metadata``;
    ``taken`` those that were answered with :class:`Ok`. What a receiver refuses by itself (too large, compressed in a
    way it does not know, not a request) is no attempt: HTTP statuses of those are in ``refused``.
    """

    def __init__(self, answers: Iterable[Answer] = ()) -> None:
        self.answers = deque(answers)
        self.attempts: list[bytes] = []
        self.times: list[float] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.taken: list[bytes] = []
        self.refused: list[int] = []
        self.leaving = threading.Event()
        self._lock = threading.Lock()  # requests come in several threads

    @property
    def records(self) -> list[LogRecord]:
        """Every record that was taken, in order of arrival."""
        return [
            record
            for raw in self.taken
            for of_resource in ExportLogsServiceRequest.FromString(raw).resource_logs
            for of_scope in of_resource.scope_logs
            for record in of_scope.log_records
        ]

    def attempt(self, raw: bytes, metadata: Mapping[str, str | bytes]) -> Answer:
        """Note an attempt and return its answer."""
        with self._lock:
            self._note(raw, metadata)
            return self.answers.popleft() if self.answers else Ok()

    def next_reset(self) -> Reset | None:
        """Return the next answer if it is a reset: it has to be known before the request is read."""
        with self._lock:
            if self.answers and isinstance(first := self.answers[0], Reset):
                self.answers.popleft()
                return first
        return None

    def cut(self, read: bytes, metadata: Mapping[str, str | bytes]) -> None:
        """Note an attempt of which no more than this was read."""
        with self._lock:
            self._note(read, metadata)

    def take(self, raw: bytes, answer: Ok) -> bool:
        """Take a request after the answer's delay; False if the receiver leaves before that."""
        if self.leaving.wait(answer.delay_s):
            return False
        self.taken.append(raw)
        return True

    def _note(self, raw: bytes, metadata: Mapping[str, str | bytes]) -> None:
        self.attempts.append(raw)
        self.times.append(time.monotonic())
        self.metadata.append(dict(metadata))


def response(answer: Ok) -> ExportLogsServiceResponse:
    """Return the message that says so: a partial success is left out where there is nothing to tell."""
    message = ExportLogsServiceResponse()
    if answer.rejected or answer.message:
        message.partial_success.CopyFrom(
            ExportLogsPartialSuccess(rejected_log_records=answer.rejected, error_message=answer.message)
        )
    return message
