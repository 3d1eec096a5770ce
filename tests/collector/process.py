"""Runs the real OpenTelemetry Collector for a test and reads back what it received."""

import random
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from tests.collector.records import LogRecord, RecordFile

__all__ = ["Collector", "CollectorError"]

START_SECONDS = 30.0
STOP_SECONDS = 10.0
PROGRESS_SECONDS = 5.0
POLL_SECONDS = 0.02
FLUSH_INTERVAL = "50ms"
LOG_TAIL = 4000

# Below the ports that Linux gives to clients (32768 and up): a client that keeps calling a closed port of that range on
# the same host will one day be given that very port and connect to itself. And below Kubernetes' NodePorts.
PORTS = range(14000, 20000)


class CollectorError(Exception):
    """The Collector did not do as told; the message ends with its own log."""


class Collector:
    """A Collector with an OTLP/gRPC receiver and a file exporter; as a context manager it runs inside the block.

    It may be stopped and started again, on the same port: records of all its lives are kept. Without ``with`` it is
    absent until ``start()``, but already has its ``endpoint``.

    Args:
        binary: what ``tests.collector.build`` built.
        directory: where its configuration, log and records go.
        host: the address to listen on.
        port: the port to listen on; a free one if not given.
        netns: the name of the network namespace to run in (its loopback must be up).
    """

    def __init__(
        self,
        binary: Path,
        directory: Path,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        netns: str | None = None,
    ) -> None:
        self.host = host
        self.port = free_port(host if netns is None else "") if port is None else port
        self._command = [str(binary), f"--config={directory / 'config.yaml'}"]
        if netns is not None:
            self._command = ["nsenter", f"--net=/run/netns/{netns}", *self._command]
        self._directory = directory
        self._log = directory / "collector.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._lives: list[RecordFile] = []

    @property
    def endpoint(self) -> str:
        """What a gRPC client dials."""
        return f"{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """The id of the running process, for tests that pause or kill it."""
        if self._process is None:
            raise CollectorError("the Collector is not running")
        return self._process.pid

    @property
    def log(self) -> str:
        """What the Collector itself has to say, over all its lives."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start it and wait until it listens."""
        if self._process is not None:
            raise CollectorError("the Collector is already running")
        self._directory.mkdir(parents=True, exist_ok=True)
        # A new file for each life: a killed one may leave half a line, and appending would spoil the next line too.
        output = self._directory / f"records-{len(self._lives)}.jsonl"
        self._lives.append(RecordFile(output))
        (self._directory / "config.yaml").write_text(yaml.safe_dump(_configuration(self.endpoint, output)))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._wait_until_listening(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ask it to flush and leave; kill it if it does not. Does nothing if it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def records(self) -> list[LogRecord]:
        """Return every log record it has written so far, in order; ``stop()`` first to have them all."""
        return [record for life in self._lives for record in life.records()]

    def wait_for(self, n_records: int, timeout: float = 30.0) -> list[LogRecord]:
        """Wait until at least ``n_records`` were written and return all of them."""
        deadline = time.monotonic() + timeout
        while len(records := self.records()) < n_records:
            if time.monotonic() > deadline:
                raise self._error(f"the Collector has {len(records)} of {n_records} records after {timeout:g} s")
            time.sleep(POLL_SECONDS)
        return records

    def _wait_until_listening(self, process: subprocess.Popen[bytes]) -> None:
        started = said = time.monotonic()
        while not listens(process.pid, self.port):
            now = time.monotonic()
            if process.poll() is not None:
                raise self._error(f"the Collector left with status {process.returncode} before it listened")
            if now - started > START_SECONDS:
                raise self._error(f"the Collector does not listen on {self.endpoint} after {START_SECONDS:g} s")
            if now - said > PROGRESS_SECONDS:
                said = now
                print(f"waiting for the Collector on {self.endpoint}: {now - started:.0f} s", flush=True)
            time.sleep(POLL_SECONDS)

    def _error(self, what: str) -> CollectorError:
        return CollectorError(f"{what}; its log ends:\n{self.log[-LOG_TAIL:]}")


def _configuration(endpoint: str, output: Path) -> dict[str, object]:
    """Return the shortest way from receiver to file: a batch or a queue would hide what natlens itself does."""
    return {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": endpoint}}}},
        "exporters": {"file": {"path": str(output), "format": "json", "flush_interval": FLUSH_INTERVAL}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"logs": {"receivers": ["otlp"], "exporters": ["file"]}},
        },
    }


def free_port(host: str = "") -> int:
    """Return a port that nobody listens on (the receiver does not tell which one port 0 gave it)."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise CollectorError(f"no free port from {PORTS.start} to {PORTS.stop - 1} on {host or 'any address'}")


def listens(pid: int, port: int) -> bool:
    """Tell whether this very process listens on the port, in whatever network namespace it is.

    From ``/proc``, because a connection made to find out would be one more flow for the test to see.
    """
    proc = Path("/proc", str(pid))
    try:
        sockets = {str(descriptor.readlink()) for descriptor in (proc / "fd").iterdir()}
        rows = [row.split() for table in ("tcp", "tcp6") for row in (proc / "net" / table).read_text().splitlines()[1:]]
    except OSError:  # it left, or closed a descriptor meanwhile: the next look, or its exit status, will tell
        return False
    return any(
        row[1].endswith(f":{port:04X}") and row[3] == "0A" and f"socket:[{row[9]}]" in sockets  # 0A is LISTEN
        for row in rows
    )
