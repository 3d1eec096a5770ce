"""A while of capturing, which ends by itself."""

import signal
import sys
import threading
import time
from types import FrameType
from typing import Self

from natlens.health import Health

__all__ = ["Stint"]

COVERED = "interfaces_covered"
POLL_S, TELL_S = 0.05, 10.0


class Stint:
    """A context manager around :func:`natlens.agent.run`: tells it to stop ``seconds`` after it began to capture.

    It does what Ctrl-C does, and tells on standard error how far it is. Only for the main thread. SIGINT before
    the agent takes it is KeyboardInterrupt, as ever.
    """

    def __init__(self, seconds: float, health: Health) -> None:
        self._seconds, self._health = seconds, health
        self._over = threading.Event()
        self._rung = False
        self._thread = threading.Thread(target=self._count)
        self._main = threading.get_ident()

    def _count(self) -> None:
        while COVERED not in self._health.snapshot():  # set when all is attached: then the agent takes the signal
            if self._over.wait(POLL_S):
                return
        sys.stderr.write(f"natlens: capturing for {self._seconds:g} s; Ctrl-C ends it sooner\n")
        begin = time.monotonic()
        while (left := begin + self._seconds - time.monotonic()) > 0:
            if self._over.wait(min(left, TELL_S)):
                return
            self._tell(time.monotonic() - begin)
        self._rung = True
        signal.pthread_kill(self._main, signal.SIGINT)

    def _tell(self, passed: float) -> None:
        records = self._health.count("records_captured")
        sys.stderr.write(f"natlens: {passed:.0f} of {self._seconds:g} s, {records} records\n")

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        """Take SIGINT while the agent does not; the time may be over just when the agent ended."""
        if not self._rung:
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        """Wait for the agent, in a thread."""
        self._before = signal.signal(signal.SIGINT, self._interrupted)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread, give the signal back."""
        self._over.set()
        self._thread.join()
        signal.signal(signal.SIGINT, self._before)
