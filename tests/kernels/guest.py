"""What runs inside a VM: the kernel's facts, then the scenarios once for each case; all results go into one directory.

``python -m tests.kernels.guest DIRECTORY``: writes ``facts.json``, and ``CASE.xml`` (JUnit) and ``CASE.log`` each.
"""

import json
import os
import platform
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Literal

from natlens.config import Options
from natlens.errors import NatlensError
from natlens.health import Health
from natlens.kernel.capture import Capture
from natlens.kernel.probe import Features
from tests.kernels.cases import CASES, Case, has_option

__all__ = ["facts", "main"]

TEST_SECONDS = 240  # under emulation, on a machine that others use too


def main(directory: Path) -> None:
    """Write all that the host wants to know."""
    known = facts()
    (directory / "facts.json").write_text(json.dumps(known))
    for case in CASES:
        if has_option(case.option) and (not case.needs or known[case.needs]):
            _run(case, bool(known["tcx"]), directory)


def facts() -> dict[str, object]:
    """Return what this kernel has, as the agent's own probe tells, and how loading and attaching by each way ended."""
    features = Features.probe()
    modules = [path.name for path in Path("/sys/kernel/btf").iterdir() if path.name != "vmlinux"]
    return {
        "release": platform.release(),
        "btf": Path("/sys/kernel/btf/vmlinux").exists(),
        "module_btf": bool(modules),
        **{name: bool(value) for name, value in vars(features).items()},
        "nat": features.packet or has_option("nat_source"),
        "attach": {"tcx": _attached("tcx"), "clsact": _attached("clsact")},
    }


def _attached(way: Literal["tcx", "clsact"]) -> str:
    """Return "" where the programs load and attach in that way, else why not."""
    try:
        with closing(Capture(Options(attach=way), Health())) as capture:
            capture.refresh()
    except NatlensError as error:
        return str(error)
    return ""


def _run(case: Case, tcx: bool, directory: Path) -> None:
    setup = "not clsact and not tcx-iptables" if tcx else "not tcx and not clsact-nftables"
    chosen = f"({setup}) and ({case.only})" if case.only else setup
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--timeout={TEST_SECONDS}"]
    command += ["-k", chosen, f"--junitxml={directory / case.name}.xml", *case.tests]
    environment = {**os.environ, **case.environment, "NATLENS_VM": "1"}
    with (directory / f"{case.name}.log").open("w") as log:
        subprocess.run(command, stdout=log, stderr=log, env=environment, check=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
