"""Which source of NAT is had with which capabilities, on a kernel where hooks attach. Only in a VM."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.kernels.inside.test_capabilities import THREE

pytestmark = pytest.mark.skipif("NATLENS_VM" not in os.environ, reason="alters the whole machine: only in a VM")

TYPES = Path("/sys/kernel/btf/nf_nat")
PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
CHOOSE = """
import logging, sys
from natlens.config import Options
from natlens.kernel import sources
from natlens.kernel.programs import load
logging.basicConfig(level=logging.WARNING, format="%(message)s")
loaded = load(Options())
sources.reads_memory = lambda: False  # tc is not to be had; hooks see for themselves
source = sources.choose_source("auto", loaded)
print(source.name)
source.close()
"""


def choose(capabilities: Sequence[str]) -> tuple[str, str]:
    """Return what `auto` takes with these capabilities alone where tc tells nothing, and the line that says so."""
    only = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    privileges = ["setpriv", "--no-new-privs", f"--bounding-set={only}", f"--inh-caps={only}"]
    done = subprocess.run(
        ["prlimit", "--memlock=unlimited", *privileges, sys.executable, "-c", CHOOSE],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if line]
    assert len(said) == 1, said[-3:]
    return done.stdout.strip(), said[0]


@pytest.fixture(autouse=True)
def paranoid() -> None:
    """As the kernel is by itself: Debian's own default, 3, forbids perf events to CAP_PERFMON."""
    PARANOID.write_text("2")


@pytest.mark.skipif(not TYPES.exists(), reason="modules have no BTF before 5.11: no fentry of theirs")
def test_with_all_that_fentry_takes() -> None:
    name, line = choose([*THREE, "sys_admin"])
    assert name == "fentry"
    assert line.startswith("NAT is learned by fentry: lockdown: confidentiality lets no tc program")


def test_with_three_capabilities_it_is_a_kprobe_and_one_line_says_why() -> None:
    """The BTF of a module (nf_nat) is shown to CAP_SYS_ADMIN only."""
    name, line = choose(THREE)
    assert name == "kprobe"
    assert line.startswith("NAT is learned by kprobe: ")
    assert "; fentry: " in line
