"""What runs inside a VM: the kernel's facts, then the scenarios once for each case; all results go into one directory.

``python -m tests.kernels.guest KERNEL DIRECTORY [CASE …]``: writes ``facts.json``, and ``CASE.xml`` (JUnit) and
``CASE.log`` each. A case runs in a fork: under emulation importing everything once more takes ten seconds.
"""

import contextlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

import natlens.agent
import natlens.ui.cli  # noqa: F401  # for the forks
from natlens.config import Options
from natlens.errors import NatlensError
from natlens.health import Health
from natlens.kernel import trial
from natlens.kernel.capture import Capture
from natlens.kernel.probe import Features
from natlens.ui.lab.namespaces import run
from tests.kernel.headers import write_headers
from tests.kernels.cases import CASES, Case
from tests.scenarios.lent import lend

__all__ = ["facts", "main"]

TEST_SECONDS = 240  # under emulation, on a machine that others use too
BTF = Path("/sys/kernel/btf")
HEADERS = Path("/run/headers")
CACHE = Path("/run/pytest")  # which tests failed


def main(kernel: str, directory: Path, *wanted: str) -> None:
    """Write all that the host wants to know."""
    known = facts()
    (directory / "facts.json").write_text(json.dumps(known))
    for case in CASES:
        if wanted and case.name not in wanted:
            continue
        if case.kernel in ("", kernel) and (not case.needs or known[case.needs]):
            with hidden_btf() if case.hides_btf else contextlib.nullcontext():
                _run(case, bool(known["tcx"]), directory)


def facts() -> dict[str, object]:
    """Return what this kernel has, as the agent's own probe tells, and how loading and attaching by each way ended."""
    features = Features.probe()
    return {
        "release": platform.release(),
        "btf": (BTF / "vmlinux").exists(),
        "module_btf": any(path.name != "vmlinux" for path in BTF.iterdir()),
        **{name: bool(value) for name, value in vars(features).items()},
        "fentry": trial.try_fentry().works,
        "kprobe": trial.try_kprobe().works,
        "kprobe_multi": trial.try_multi().works,
        "attach": {"tcx": _attached("tcx") if features.tcx else "no tcx links", "clsact": _attached("clsact")},
    }


def _attached(way: Literal["tcx", "clsact"]) -> str:
    """Return "" where the programs load and attach in that way, else why not."""
    try:
        options = Options(attach=way)
        with closing(Capture(options, Health(), lend(options))) as capture:  # the forks have these programs, too
            capture.refresh()
    except NatlensError as error:
        return str(error)
    return ""


@contextlib.contextmanager
def hidden_btf() -> Iterator[None]:
    """Take the kernel's BTF away, but not before bcc has headers that are made from it."""
    os.environ["BCC_KERNEL_SOURCE"] = str(write_headers(HEADERS))
    run("mount", "-t", "tmpfs", "none", str(BTF))
    try:
        yield
    finally:
        run("umount", str(BTF))
        del os.environ["BCC_KERNEL_SOURCE"]


def _run(case: Case, tcx: bool, directory: Path) -> None:
    """Run a case; what failed gets a second try, which the results tell: emulation stretches time at random."""
    arguments = _arguments(case, tcx)
    if (
        _forked(case, directory, [*arguments, f"--junitxml={directory / case.name}.xml"])
        == pytest.ExitCode.TESTS_FAILED
    ):
        _forked(case, directory, [*arguments, "--last-failed", f"--junitxml={directory / case.name}.again.xml"])


def _forked(case: Case, directory: Path, arguments: list[str]) -> int:
    """Return how pytest ended in a process of its own: what was imported once need not be again."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    log = os.open(directory / f"{case.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    os.environ.update(case.environment, NATLENS_VM="1")
    status = 1
    try:
        status = pytest.main(arguments)
    finally:
        sys.stdout.flush()
        os._exit(status)


def _arguments(case: Case, tcx: bool) -> list[str]:
    """Return pytest's: iptables is tried by the one way of attaching, nftables by the other."""
    words = [f"not ({case.without})"] if case.without else []
    words += ["not clsact and not tcx-iptables" if tcx else "not tcx and not clsact-nftables"]
    words += [case.only] if case.only else []
    chosen = " and ".join(f"({one})" for one in words)
    options = ["-q", "-o", f"cache_dir={CACHE / case.name}", f"--timeout={TEST_SECONDS}", "--durations=15"]
    return [*options, "-k", chosen, *case.tests]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
