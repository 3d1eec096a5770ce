"""What the doctor's tests share: a machine made of files, and findings by what they say."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from natlens.config import Options
from natlens.ui.doctor.check import Finding, Status
from natlens.ui.doctor.machine import Machine

__all__ = ["FEW", "RELEASE", "looked", "machine_of", "one", "worst"]

RELEASE = "6.1.0-test"
FEW: dict[str, Any] = {"window_rows": 1024, "window_translations": 1024}
"""Options of windows that are made quickly."""


def machine_of(root: Path, files: dict[str, str] | None = None, **options: Any) -> Machine:
    """Return a machine whose files are these, below ``root``."""
    for name, text in (files or {}).items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(Options(**{**FEW, **options}), root=root, environ={}, release=RELEASE)


def looked(look: Callable[[Machine], Iterable[Finding]], machine: Machine | None = None) -> list[Finding]:
    """Return all that a check finds; without a machine on this one."""
    return list(look(machine or Machine(Options(**FEW), environ={})))


def worst(findings: Iterable[Finding]) -> Status:
    """Return the worst status; each finding that is not well has a fix, of one line."""
    found = list(findings)
    assert found
    for finding in found:
        assert (finding.status == Status.PASS) == (not finding.fix), finding
        assert "\n" not in finding.found + finding.fix
    order = [Status.PASS, Status.WARN, Status.FAIL]
    return max((finding.status for finding in found), key=order.index)


def one(findings: Iterable[Finding], status: Status) -> Finding:
    """Return the only finding of a status."""
    (found,) = [finding for finding in findings if finding.status == status]
    return found
