"""Runs the real OpenTelemetry Collector for a test and reads back what it received."""

from pathlib import Path
from typing import Any, Literal

import yaml
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tests.collector.daemon import Daemon, DaemonError
from tests.collector.ports import free_port
from tests.collector.proto import read_messages, read_requests
from tests.collector.records import LogRecord, RecordFile
from tests.collector.tls import Tls

__all__ = ["Collector", "CollectorError"]

FLUSH_INTERVAL = "50ms"
UNROTATED_MB = 1 << 20


class CollectorError(DaemonError):
    """The Collector did not do as told; the message ends with its own log."""


class Collector(Daemon):
    """A Collector with an OTLP receiver and a file exporter; as a context manager it runs inside the block.

    It may be stopped and started again, on the same port: records of all its lives are kept. Without ``with`` it is
    absent until ``start()``, but already has its ``endpoint``.

    Args:
        binary: what ``tests.collector.build`` built.
        directory: where its configuration, log and records go.
        host: the address to listen on.
        port: the port to listen on; a free one if not given.
        netns: the name of the network namespace to run in (its loopback must be up).
        transport: how OTLP comes; what a receiver takes at most is the Collector's default (gRPC: 4 MiB).
        tls: its certificate; plain text if not given.
        writes: ``json`` for ``records()``, ``proto`` for ``requests()``, ``nothing`` where its own work should not
            count, as in a benchmark.
        buffered: False where everything must be in the file before it is acknowledged: so that one that is killed
            loses nothing it took.
    """

    name = "Collector"
    error = CollectorError

    def __init__(
        self,
        binary: Path,
        directory: Path,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        netns: str | None = None,
        transport: Literal["grpc", "http"] = "grpc",
        tls: Tls | None = None,
        writes: Literal["json", "proto", "nothing"] = "json",
        buffered: bool = True,
    ) -> None:
        self.port = free_port(host if netns is None else "") if port is None else port
        super().__init__(directory, host, (self.port,))
        self._command = [str(binary), f"--config={directory / 'config.yaml'}"]
        if netns is not None:
            self._command = ["nsenter", f"--net=/run/netns/{netns}", *self._command]
        self._transport = transport
        self._tls = tls
        self._writes = writes
        self._buffered = buffered
        self._lives: list[RecordFile] = []

    @property
    def endpoint(self) -> str:
        """What a gRPC client dials."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The endpoint as an option of natlens: for HTTP, too, without a path."""
        return f"{'https' if self._tls else 'http'}://{self.endpoint}"

    def records(self) -> list[LogRecord]:
        """Return every log record it has written so far, in order; ``stop()`` first to have them all."""
        self._expect("json")
        return [record for life in self._lives for record in life.records()]

    def requests(self) -> list[ExportLogsServiceRequest]:
        """Return every request it has written so far, in order; ``stop()`` first to have them all."""
        self._expect("proto")
        return [request for life in self._lives for request in read_requests(life.path)]

    def messages(self) -> list[bytes]:
        """Return the same requests as the Collector serialized them."""
        self._expect("proto")
        return [message for life in self._lives for message in read_messages(life.path)]

    def _expect(self, written: str) -> None:
        if self._writes != written:
            raise self.error(f"this Collector was made to write {self._writes}, not {written}")

    def _prepare(self) -> list[str]:
        # A new file for each life: a killed one may leave half a line, and appending would spoil the next line too.
        output = RecordFile(self._directory / f"records-{len(self._lives)}.{self._writes}")
        self._lives.append(output)
        (self._directory / "config.yaml").write_text(yaml.safe_dump(self._configuration(output.path)))
        return self._command

    def _configuration(self, output: Path) -> dict[str, Any]:
        """Return the shortest way from receiver to file: a batch or a queue would hide what natlens itself does."""
        protocol: dict[str, Any] = {"endpoint": self.endpoint}
        if self._tls is not None:
            protocol["tls"] = _certificates(self._tls)
        exporter: dict[str, Any] = {"nop": {}}
        if self._writes != "nothing":
            # Only a file that it might rotate is written without a buffer; this one is never that large.
            how = (
                {"flush_interval": FLUSH_INTERVAL} if self._buffered else {"rotation": {"max_megabytes": UNROTATED_MB}}
            )
            exporter = {"file": {"path": str(output), "format": self._writes, **how}}
        return {
            "receivers": {"otlp": {"protocols": {self._transport: protocol}}},
            "exporters": exporter,
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {
                    signal: {"receivers": ["otlp"], "exporters": list(exporter)}
                    for signal in (("logs", "metrics", "traces") if self._writes == "nothing" else ("logs",))
                },
            },
        }


def _certificates(tls: Tls) -> dict[str, str]:
    files = {"cert_file": tls.cert, "key_file": tls.key, "client_ca_file": tls.client_ca}
    return {option: str(path) for option, path in files.items() if path is not None}
