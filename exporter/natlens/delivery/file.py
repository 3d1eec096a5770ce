"""The file outlet: OTLP JSON lines, as the Collector's file exporter writes them."""

import logging
import os
import stat
from pathlib import Path

from natlens.delivery.account import Account
from natlens.delivery.messages import messages
from natlens.delivery.throttle import Throttle
from natlens.errors import DeliveryError
from natlens.health import Health
from natlens.otlp.jsonlines import to_line
from natlens.otlp.request import UNITS, Request

__all__ = ["FileOutlet"]

log = logging.getLogger(__name__)


class FileOutlet:
    """An :class:`~natlens.delivery.outlet.Outlet` that appends one line a request, of any signal.

    Raises :class:`~natlens.errors.DeliveryError` where the file cannot be written at all. A line that
    fails later (a full disk) is taken back and its records are dropped as ``write_failed``.
    """

    def __init__(self, path: str | Path, health: Health) -> None:
        self._path = Path(path)
        self._accounts = {signal: Account(health, signal) for signal in UNITS}
        self._failures = Throttle()
        try:
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise DeliveryError(f"output {str(path)!r} cannot be written: {error.strerror}") from error
        self._regular = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        self._torn = self._regular and _ends_within_line(self._path)

    def send(self, request: Request) -> None:
        """Write one line."""
        count, account = request.records, self._accounts[request.signal]
        account.captured(count)
        line = to_line(messages(request.signal).request.FromString(request.data)).encode() + b"\n"
        try:
            self._write(b"\n" + line if self._torn else line)
        except (OSError, ValueError) as error:  # ValueError: closed
            account.dropped(count, "write_failed")
            if self._failures.due():
                log.warning("output %s: %s; %d %s dropped", self._path, error, count, account.unit)
        else:
            self._torn = False
            account.exported(count)

    def flush(self, deadline: float) -> None:  # noqa: ARG002  # nothing waits: every line is written at once
        """Make what is written outlive a crash of the machine."""
        if self._regular and not self._file.closed:
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                log.warning("output %s: %s", self._path, error)

    def close(self) -> None:
        """Flush to disk and close."""
        self.flush(0.0)
        self._file.close()

    def _write(self, line: bytes) -> None:
        start = os.fstat(self._file.fileno()).st_size if self._regular else 0
        left = memoryview(line)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            if self._regular:
                os.ftruncate(self._file.fileno(), start)
            raise


def _ends_within_line(path: Path) -> bool:
    """Tell whether a file's last line has no end: whoever wrote it was killed."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            if file.tell() == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:  # writable but not readable: then it is taken as whole
        return False
