"""What a kernel's run said: its facts and the outcome of every test, as kept in a JSON file."""

import json
import xml.etree.ElementTree as ET  # our own pytest wrote it
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

__all__ = ["Outcome", "Result", "keep", "read_exchange", "recall"]


AGAIN = "at the second try"


class Outcome(NamedTuple):
    """One test in one case."""

    case: str
    test: str
    how: Literal["passed", "failed", "skipped"]
    why: str
    seconds: float


@dataclass
class Result:
    """One kernel; ``missing`` says why there is none, ``broken`` why its machine did not come to an end."""

    kernel: str
    facts: dict[str, Any] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    missing: str = ""
    broken: str = ""
    seconds: float = 0.0

    @property
    def series(self) -> str:
        """The kernel's version without what distributions and fixes add: 6.12."""
        return ".".join(str(self.facts["release"]).split(".")[:2])

    @property
    def again(self) -> list[Outcome]:
        """What failed once and then passed."""
        return [one for one in self.outcomes if one.why.startswith(AGAIN)]

    def of(self, case: str, how: str) -> list[Outcome]:
        """Return a case's outcomes of one sort."""
        return [one for one in self.outcomes if one.case == case and one.how == how]


def read_exchange(directory: Path, result: Result) -> None:
    """Add what the guest left."""
    if (directory / "facts.json").exists():
        result.facts = json.loads((directory / "facts.json").read_text())
    for log in sorted(directory.glob("*.log")):
        report = log.with_suffix(".xml")
        if report.exists():
            result.outcomes += _tried(log.stem, report, log.with_suffix(".again.xml"))
        else:
            said = log.read_text(errors="replace")[-2000:]
            result.outcomes.append(Outcome(log.stem, "(the whole run)", "failed", f"no report: {said}", 0.0))


def _tried(case: str, report: Path, again: Path) -> list[Outcome]:
    """Return what became of each test; one that passed at the second try says so."""
    second = {one.test: one for one in _outcomes(case, again)} if again.exists() else {}
    found = []
    for first in _outcomes(case, report):
        last = second.get(first.test)
        mended = first.how == "failed" and last is not None and last.how == "passed"
        found.append(first._replace(how="passed", why=f"{AGAIN}: {first.why}") if mended else first)
    return found


def _outcomes(case: str, report: Path) -> list[Outcome]:
    found = []
    for one in ET.parse(report).iter("testcase"):  # noqa: S314
        name = f"{one.get('classname', '').rpartition('.')[2]}::{one.get('name')}"
        seconds = float(one.get("time", 0))
        bad = next((element for kind in ("failure", "error") if (element := one.find(kind)) is not None), None)
        skipped = one.find("skipped")
        if bad is not None:
            found.append(Outcome(case, name, "failed", bad.get("message", ""), seconds))
        elif skipped is not None:
            found.append(Outcome(case, name, "skipped", skipped.get("message", ""), seconds))
        else:
            found.append(Outcome(case, name, "passed", "", seconds))
    return found


def keep(results: Sequence[Result], minutes: float, path: Path) -> None:
    """Write results, and the wall time of them all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"matrix_minutes": round(minutes, 2), "kernels": [asdict(result) for result in results]}
    path.write_text(json.dumps(told, indent=1))


def recall(path: Path) -> list[Result]:
    """Read what :func:`keep` wrote."""
    rows = json.loads(path.read_text())["kernels"]
    return [Result(**{**row, "outcomes": [Outcome(*one) for one in row["outcomes"]]}) for row in rows]
