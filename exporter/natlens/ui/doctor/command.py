"""The command: options as of `natlens run`, one line a finding, an exit status."""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

from natlens import __version__
from natlens.config import load
from natlens.ui.doctor.check import Result, Status, examine
from natlens.ui.doctor.machine import Machine
from natlens.ui.doctor.table import CHECKS
from natlens.ui.flags import Parser, add_flags, given_flags, refuse_unknown
from natlens.ui.rows import escape

__all__ = ["main"]

DESCRIPTION = "Tell what this machine can do with these options, and what to do where it cannot. Changes nothing."
EPILOG = "exit status: 0 all passed, 1 warnings, 2 a failure"
WIDTH = max(len(check.name) for check in CHECKS)


def main(arguments: Sequence[str]) -> int:
    """Look and tell; returns 0 where all passed, 1 where something is lost or in doubt, 2 where something fails."""
    parser = Parser(
        prog="natlens doctor",
        description=DESCRIPTION,
        usage="%(prog)s [--json] [option of natlens run …]",
        epilog=EPILOG,
    )
    parser.add_argument("--json", action="store_true", help="one array of objects: check, status, found, fix")
    add_flags(parser)
    parsed, extra = parser.parse_known_args(list(arguments))
    refuse_unknown(parser, extra)
    machine = Machine(load(given_flags(parsed), os.environ).options)
    results = examine(CHECKS, machine, lambda line: sys.stderr.write(f"natlens doctor: {line}\n"))
    found = _as_json(results, sys.stdout) if parsed.json else _as_text(results, machine, sys.stdout)
    return _exit_status(found)


def _exit_status(found: Counter[Status]) -> int:
    return 2 if found[Status.FAIL] else 1 if found[Status.WARN] else 0


def _as_json(results: Iterable[Result], out: TextIO) -> Counter[Status]:
    all_of_them = [result._asdict() for result in results]
    out.write(json.dumps(all_of_them, indent=1) + "\n")
    return Counter(result["status"] for result in all_of_them)


def _as_text(results: Iterable[Result], machine: Machine, out: TextIO) -> Counter[Status]:
    """Print each finding as it comes."""
    found: Counter[Status] = Counter()
    out.write(f"natlens {__version__} on Linux {escape(machine.release)}\n\n")
    for result in results:
        found[result.status] += 1
        out.writelines(f"{escape(line)}\n" for line in _lines(result))
        out.flush()
    out.write(f"\n{_summary(found)}\n")
    return found


def _lines(result: Result) -> Iterator[str]:
    yield f"{result.status:<4}  {result.check:<{WIDTH}}  {result.found}"
    if result.fix:
        yield f"{'':<4}  {'':<{WIDTH}}  → {result.fix}"


def _summary(found: Counter[Status]) -> str:
    counts = f"{found[Status.PASS]} passed, {found[Status.WARN]} warnings, {found[Status.FAIL]} failures"
    if found[Status.FAIL]:
        return f"natlens cannot do all that these options ask for: see FAIL. {counts}."
    return f"natlens can run{': see WARN for what is lost or in doubt' if found[Status.WARN] else ''}. {counts}."
