"""Runs rotel, an OTLP receiver in Rust that shares no code with the Collector or with gRPC's C core.

It has no exporter to a file, so it forwards by OTLP/gRPC, a request at a time, to a receiver of the tests.
It takes gzip or nothing on either transport, and plain text only.
"""

import os
from importlib.metadata import distribution
from pathlib import Path
from types import TracebackType
from typing import Self

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tests.collector.daemon import Daemon
from tests.collector.ports import free_port
from tests.collector.records import LogRecord, decode
from tests.delivery.server import Receiver

__all__ = ["Rotel"]

HOST = "127.0.0.1"
FORWARDED_BYTES = 64 << 20


class Rotel(Daemon):
    """A rotel on free ports of the loopback; it runs in the network namespace that its maker is in."""

    name = "rotel"

    def __init__(self, directory: Path) -> None:
        self.grpc_port = free_port(HOST)
        self.http_port = free_port(HOST, other_than=self.grpc_port)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ROTEL_")}
        super().__init__(directory, HOST, (self.grpc_port, self.http_port), inherited)
        self._sink = Receiver(message_bytes=FORWARDED_BYTES)

    @property
    def grpc_url(self) -> str:
        """Where it takes OTLP/gRPC."""
        return f"http://{HOST}:{self.grpc_port}"

    @property
    def http_url(self) -> str:
        """Where it takes OTLP/HTTP; without a path."""
        return f"http://{HOST}:{self.http_port}"

    def records(self) -> list[LogRecord]:
        """Return every log record that it forwarded so far, in order; ``stop()`` first to have them all."""
        dicts = [MessageToDict(one, use_integers_for_enums=True) for one in self.requests()]
        return [record for one in dicts for record in decode(one)]

    def requests(self) -> list[ExportLogsServiceRequest]:
        """Return every request that it forwarded so far, in order; ``stop()`` first to have them all."""
        return [ExportLogsServiceRequest.FromString(one) for one in list(self._sink.taken)]

    def __enter__(self) -> Self:
        self._sink.start()
        try:
            return super().__enter__()
        except BaseException:
            self._sink.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._sink.stop()

    def _prepare(self) -> list[str]:
        binary = distribution("rotel").locate_file("rotel/rotel-agent")
        return [
            str(binary),
            "start",
            f"--otlp-grpc-endpoint={HOST}:{self.grpc_port}",
            f"--otlp-http-endpoint={HOST}:{self.http_port}",
            "--exporter=otlp",
            f"--otlp-exporter-endpoint={self._sink.url}",
            "--otlp-exporter-compression=none",
            "--disable-batching",
        ]
