"""natlens' own messages: text or JSON, one line each, no flood, a traceback only where somebody asked for it."""

import copy
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from natlens.config import Options
from natlens.errors import NatlensError

__all__ = ["RateLimit", "logs_to_stderr", "unexpected"]

log = logging.getLogger("natlens")

A_MINUTE = 10
"""Messages of one template that are written in a minute."""
PERIOD_S = 60.0
TEMPLATES = 1000
"""Templates that are remembered: who writes values into the template itself makes many."""

ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "suppressed"}
"""What every record has; anything else was given as ``extra``."""


@contextmanager
def logs_to_stderr(options: Options, stream: TextIO | None = None) -> Iterator[None]:
    """Let everybody's messages go to standard error, as the options say, while the body runs.

    That includes libraries, warnings, and exceptions that end a thread. An error that ends the body goes there, too, if
    messages are JSON: then it becomes SystemExit with the error's status, since nobody else need tell of it.
    """
    root, hooks = logging.getLogger(), (threading.excepthook, sys.unraisablehook)
    before = root.handlers[:], root.level
    handler = _Handler(stream or sys.stderr)
    formatter = _Json if options.log_format == "json" else _Text
    handler.setFormatter(formatter(tracebacks=options.debug))
    handler.addFilter(RateLimit())
    root.handlers[:] = [handler]
    root.setLevel(options.log_level.upper())
    logging.captureWarnings(capture=True)
    threading.excepthook, sys.unraisablehook = _thread_ended, _unraisable
    try:
        yield
    except Exception as error:
        if options.log_format != "json" or isinstance(error, BrokenPipeError):
            raise
        words, status = (error, error.exit_status) if isinstance(error, NatlensError) else (unexpected(error), 1)
        log.critical("%s", words, exc_info=error)
        raise SystemExit(status) from error
    finally:
        threading.excepthook, sys.unraisablehook = hooks
        logging.captureWarnings(capture=False)
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        handler.close()


def unexpected(error: Exception) -> str:
    """Return what to say of an error that nobody foresaw."""
    return f"unexpected {_words(error)}; this is a defect of natlens: report it with what --debug shows"


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
        name = ended.thread.name if ended.thread else "?"
        log.error("thread %s ended: %s", name, _words(ended.exc_value), exc_info=ended.exc_value)


def _unraisable(one: "sys.UnraisableHookArgs") -> None:
    if one.exc_value is not None:
        log.error("%s: %s", one.err_msg or "exception ignored", _words(one.exc_value), exc_info=one.exc_value)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


@dataclass
class _Seen:
    since_s: float
    written: int = 0
    suppressed: int = 0


class RateLimit(logging.Filter):
    """Lets through ``most`` messages of one template (and level, and logger) in each ``period_s``.

    The first one of the next period says how many were not written, as ``suppressed`` of its record. Each template has
    a limit of its own, so that no flood hides an error. ``clock`` tells seconds.
    """

    def __init__(
        self, most: int = A_MINUTE, period_s: float = PERIOD_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._most, self._period_s, self._clock = most, period_s, clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, int, str], _Seen] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to write it."""
        key, now = (record.name, record.levelno, str(record.msg)), self._clock()
        with self._lock:
            seen = self._seen.get(key)
            if seen is None or now - seen.since_s >= self._period_s:
                suppressed = seen.suppressed if seen else 0
                self._seen.pop(key, None)  # the newest stands last
                seen = self._seen[key] = _Seen(now)
                if suppressed:
                    record.suppressed = suppressed
                if len(self._seen) > TEMPLATES:
                    del self._seen[next(iter(self._seen))]
            if seen.written >= self._most:
                seen.suppressed += 1
                return False
            seen.written += 1
            return True

    def unsaid(self) -> list[tuple[str, int, str, int]]:
        """Return logger, level, template and number of what was suppressed and not told of yet, and forget it."""
        with self._lock:
            found = [(*key, seen.suppressed) for key, seen in self._seen.items() if seen.suppressed]
            self._seen.clear()
        return found


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines; at the end it tells what was suppressed, and a stream that is gone bothers nobody."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Do nothing: there is nowhere to tell it."""

    def close(self) -> None:
        limits = [one for one in self.filters if isinstance(one, RateLimit)]
        for name, level, template, count in (one for limit in limits for one in limit.unsaid()):
            record = logging.LogRecord(name, level, __file__, 0, "%s", (template,), None)
            record.suppressed = count
            self.emit(record)
        super().close()


class _Formatter(logging.Formatter):
    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__("natlens: %(levelname)s: %(message)s")
        self._tracebacks = tracebacks

    def _cause(self, record: logging.LogRecord) -> BaseException | None:
        """Return the exception that came with the record if its message does not tell of it."""
        error = record.exc_info[1] if record.exc_info else None
        return error if error is not None and str(error) not in record.getMessage() else None


class _Text(_Formatter):
    """``natlens: LEVEL: message``."""

    def format(self, record: logging.LogRecord) -> str:
        told = copy.copy(record)
        words = record.getMessage()
        if not self._tracebacks:
            if cause := self._cause(record):
                words = f"{words}: {_words(cause)}"
            told.exc_info = told.exc_text = told.stack_info = None
        if count := getattr(record, "suppressed", 0):
            words = f"{words} (… suppressed {count} times)"
        told.msg, told.args = _one_line(words), ()
        return super().format(told)


class _Json(_Formatter):
    """One object: time, severity, message, logger, and attributes where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told: dict[str, object] = {
            "time": at.replace("+00:00", "Z"),
            "severity": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
        }
        attributes = {name: value for name, value in vars(record).items() if name not in ORDINARY}
        if count := getattr(record, "suppressed", 0):
            attributes["suppressed"] = count
        if cause := self._cause(record):
            attributes["exception.type"], attributes["exception.message"] = type(cause).__name__, str(cause)
        if self._tracebacks and record.exc_info:
            attributes["exception.stacktrace"] = self.formatException(record.exc_info)
        if attributes:
            told["attributes"] = attributes
        return json.dumps(told, ensure_ascii=False, default=str)


def _one_line(text: str) -> str:
    """Return text without what would begin another line, or what a terminal may act upon."""
    return text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
