"""A receiver of somebody else's making that a test runs as a process, and what it received."""

import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from tests.collector.ports import listens
from tests.collector.records import LogRecord

__all__ = ["Daemon", "DaemonError"]

START_SECONDS = 30.0
STOP_SECONDS = 10.0
PROGRESS_SECONDS = 5.0
POLL_SECONDS = 0.02
LOG_TAIL = 4000


class DaemonError(Exception):
    """A receiver did not do as told; the message ends with its own log."""


class Daemon(ABC):
    """A process that listens; as a context manager it runs inside the block.

    It may be stopped and started again, on the same ports: records of all its lives are kept.

    Args:
        directory: where its files go.
        host: the address that it listens on.
        ports: all of them; it is started once it listens on each.
        environment: its variables; those of this process if not given.
    """

    name: ClassVar[str]
    error: ClassVar[type[DaemonError]] = DaemonError

    def __init__(
        self, directory: Path, host: str, ports: tuple[int, ...], environment: Mapping[str, str] | None = None
    ) -> None:
        self.host = host
        self._directory = directory
        self._ports = ports
        self._environment = environment
        self._log = directory / f"{self.name.lower()}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _prepare(self) -> list[str]:
        """Make ready for one more life in the directory, and return the command that begins it."""

    @abstractmethod
    def records(self) -> list[LogRecord]:
        """Return every log record that came out of it so far, in order; ``stop()`` first to have them all."""

    @property
    def pid(self) -> int:
        """The id of the running process, for tests that pause or kill it."""
        if self._process is None:
            raise self.error(f"the {self.name} is not running")
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has to say itself, over all its lives."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start it and wait until it listens."""
        if self._process is not None:
            raise self.error(f"the {self.name} is already running")
        self._directory.mkdir(parents=True, exist_ok=True)
        command = self._prepare()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )
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

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        process, self._process = self._process, None
        if process is None:
            raise self.error(f"the {self.name} is not running")
        process.kill()
        process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait_for(self, n_records: int, timeout: float = 30.0) -> list[LogRecord]:
        """Wait until at least ``n_records`` came out of it and return all of them."""
        deadline = time.monotonic() + timeout
        while len(records := self.records()) < n_records:
            if time.monotonic() > deadline:
                raise self._error(f"the {self.name} has {len(records)} of {n_records} records after {timeout:g} s")
            time.sleep(POLL_SECONDS)
        return records

    def _wait_until_listening(self, process: subprocess.Popen[bytes]) -> None:
        where = " and ".join(f"{self.host}:{port}" for port in self._ports)
        started = said = time.monotonic()
        while not all(listens(process.pid, port) for port in self._ports):
            now = time.monotonic()
            if process.poll() is not None:
                raise self._error(f"the {self.name} left with status {process.returncode} before it listened")
            if now - started > START_SECONDS:
                raise self._error(f"the {self.name} does not listen on {where} after {START_SECONDS:g} s")
            if now - said > PROGRESS_SECONDS:
                said = now
                print(f"waiting for the {self.name} on {where}: {now - started:.0f} s", flush=True)
            time.sleep(POLL_SECONDS)

    def _error(self, what: str) -> DaemonError:
        return self.error(f"{what}; its log ends:\n{self.log[-LOG_TAIL:]}")
