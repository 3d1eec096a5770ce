"""A check and what it finds; run one by one, so that one that breaks or hangs costs nothing but its own answer."""

import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from natlens.errors import NatlensError
from natlens.ui.doctor.machine import Machine

__all__ = ["Check", "Finding", "Findings", "Result", "Status", "examine", "failed", "passed", "warned"]

PATIENCE_S = 2.0
"""After this much silence a check's name is shown."""


class Status(StrEnum):
    """How it stands; WARN: natlens runs, and something is lost or in doubt."""

    PASS = "PASS"  # noqa: S105  # no password
    WARN = "WARN"
    FAIL = "FAIL"


class Finding(NamedTuple):
    """What one look found, and the way out where one is needed."""

    status: Status
    found: str
    fix: str = ""


class Result(NamedTuple):
    """A finding with the name of its check: the keys of ``--json``."""

    check: str
    status: Status
    found: str
    fix: str


Findings = Iterator[Finding]


class Check(NamedTuple):
    """One row of the table of checks."""

    name: str
    what_for: str
    look: Callable[[Machine], Iterable[Finding]]
    limit_s: float = 30.0


def passed(found: str) -> Finding:
    """Return that all is well."""
    return Finding(Status.PASS, found)


def warned(found: str, fix: str) -> Finding:
    """Return that something is lost or in doubt."""
    return Finding(Status.WARN, found, fix)


def failed(found: str, fix: str) -> Finding:
    """Return that natlens cannot do what the options ask for."""
    return Finding(Status.FAIL, found, fix)


def examine(checks: Iterable[Check], machine: Machine, tell: Callable[[str], object]) -> Iterator[Result]:
    """Yield what each check finds, in order; ``tell`` gets a line now and then while one takes long."""
    for check in checks:
        for status, found, fix in _looked(check, machine, tell):
            yield Result(check.name, status, found, fix)


def _looked(check: Check, machine: Machine, tell: Callable[[str], object]) -> Iterator[Finding]:
    """Yield a check's findings as they come; it looks in a thread of its own, which is left behind if it hangs."""
    answers: queue.SimpleQueue[Finding | None] = queue.SimpleQueue()
    threading.Thread(target=_look, args=(check, machine, answers), name=f"doctor-{check.name}", daemon=True).start()
    begin = time.monotonic()
    while (waited := time.monotonic() - begin) < check.limit_s:
        try:
            answer = answers.get(timeout=min(PATIENCE_S, check.limit_s - waited))
        except queue.Empty:
            tell(f"{check.name}: {time.monotonic() - begin:.0f} s …")
            continue
        if answer is None:
            return
        yield answer
    yield failed(f"no answer within {check.limit_s:.0f} s", "look at what it asks: it hangs")


def _look(check: Check, machine: Machine, answers: "queue.SimpleQueue[Finding | None]") -> None:
    try:
        for finding in check.look(machine):
            answers.put(finding)
    except NatlensError as error:
        answers.put(_of_error(error))
    except Exception as error:
        if machine.options.debug:
            traceback.print_exc()
        words = " ".join(str(error).split())
        answers.put(
            failed(
                f"check itself failed: {type(error).__name__}: {words}",
                "report it with what natlens doctor --debug prints",
            )
        )
    finally:
        answers.put(None)


def _of_error(error: NatlensError) -> Finding:
    """Return the failure that an error is: its way out stands behind its last semicolon, else its first colon."""
    found, _, fix = str(error).rpartition("; ")
    if not found:
        found, _, fix = str(error).partition(": ")
    return failed(found, fix or "see docs/configuration.md")
