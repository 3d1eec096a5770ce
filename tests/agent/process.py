"""The real agent: ``python -m natlens`` as a process in a node's network namespace."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from natlens.ui.lab.namespaces import Namespace
from tests.collector.records import LogRecord, RecordFile

__all__ = ["NATLENS", "Agent", "clean_environment", "wait_until"]

NATLENS = sys.executable, "-m", "natlens"
START_S, STOP_S = 30.0, 30.0
POLL_S = 0.01


def wait_until(holds: Callable[[], object], what: str, timeout: float = 10.0) -> None:
    """Return as soon as ``holds`` says so; fails with ``what`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"after {timeout:g} s still not: {what}"
        time.sleep(POLL_S)


def clean_environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without anybody's options, warnings as errors, with ``variables``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("NATLENS_", "OTEL_"))}
    return {**inherited, "PYTHONWARNINGS": "error", **variables}


class Agent:
    """``natlens run`` with ``arguments``; as a context manager it is stopped, or else killed, at the end.

    ``before`` is a command that executes the rest of its line, such as ``setpriv``. Records go to ``output``.
    """

    def __init__(
        self,
        namespace: Namespace,
        output: Path,
        *arguments: str,
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        run = (*NATLENS, "run", f"--output={output}", *arguments)
        self._process = subprocess.Popen(
            ["nsenter", f"--net={namespace.path}", *before, *run],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(**(environment or {})),
        )
        self.pid = self._process.pid
        self.said: list[str] = []
        self._records = RecordFile(output)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr
        with self._process.stderr as lines:
            for line in lines:
                self.said.append(line.rstrip("\n"))

    def started(self) -> Self:
        """Wait until it captures."""
        self.wait_for("capturing on", START_S)
        return self

    def can_capture(self) -> bool:
        """Wait until it captures, or has ended for something that is not to be had here."""
        wait_until(lambda: self.lines("capturing on") or not self.running, "captures or ends", START_S)
        if not self.running:
            assert self.wait() != 0
            assert self.lines("cannot be had"), self.said
        return self.running

    def wait_for(self, words: str, timeout: float = 10.0) -> str:
        """Return the first line with these words, as soon as it was said."""
        deadline = time.monotonic() + timeout
        while True:
            over = self._process.poll() is not None or time.monotonic() > deadline
            if over and self._process.poll() is not None:
                self._reader.join()
            for line in self.lines(words):
                return line
            assert not over, f"the agent did not say {words!r}; it said {self.said}, status {self._process.poll()}"
            time.sleep(POLL_S)

    def lines(self, words: str) -> list[str]:
        """Return what it said with these words, so far."""
        return [line for line in list(self.said) if words in line]

    def records(self) -> list[LogRecord]:
        """Return what it wrote to its output so far."""
        return list(self._records.records())

    @property
    def running(self) -> bool:
        """Tell whether it has not ended yet."""
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self, timeout: float = STOP_S) -> int:
        """Return its exit status, when it has said everything."""
        status = self._process.wait(timeout)
        self._reader.join()
        return status

    def stop(self) -> float:
        """Ask it to leave, as Kubernetes does; returns how long that took (s), fails if it did not end well."""
        begin = time.monotonic()
        self.signal(signal.SIGTERM)
        assert self.wait() == 0, self.said
        assert self.lines("Traceback") == [], self.said
        return time.monotonic() - begin

    def kill(self) -> None:
        """End it without a chance to clean up."""
        self._process.kill()
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()
