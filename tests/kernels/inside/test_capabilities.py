"""Which capabilities and which locks natlens works with, and what it says where it does not. Only in a VM."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif("NATLENS_VM" not in os.environ, reason="alters the whole machine: only in a VM")

THREE = ("bpf", "perfmon", "net_admin")
PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
LOCKDOWN = Path("/sys/kernel/security/lockdown")
LOAD = """
import sys
from natlens.config import Options
from natlens.errors import NatlensError
from natlens.health import Health
from natlens.kernel.capture import Capture
try:
    capture = Capture(Options(), Health())
    capture.refresh()
    capture.close()
except NatlensError as error:
    sys.exit(f"{type(error).__name__}: {error}")
print("attached")
"""


def load(capabilities: Sequence[str], *, uid: int = 0, memlock: str = "unlimited") -> str:
    """Load and attach with these capabilities alone; returns "attached", or the one line that it says instead."""
    only = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    privileges = ["setpriv", "--no-new-privs", f"--bounding-set={only}", f"--inh-caps={only}"]
    if uid:
        Path("/root").chmod(0o755)  # the guest's own: the interpreter may lie there
        privileges += [f"--ambient-caps={only}", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    command = ["prlimit", f"--memlock={memlock}", *privileges, sys.executable, "-c", LOAD]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line]
    assert len(said) == 1, said
    return said[0]


def test_as_kubernetes_gives_them() -> None:
    """Uid 0, drop ALL, add three, no_new_privs."""
    assert load(THREE) == "attached"


def test_as_another_user() -> None:
    assert load(THREE, uid=65532) == "attached"


def test_old_capability_stands_for_two() -> None:
    assert load(["sys_admin", "net_admin"]) == "attached"


@pytest.mark.parametrize("missing", THREE)
def test_one_missing_is_named(missing: str) -> None:
    said = load([name for name in THREE if name != missing])
    assert re.match(rf"MissingCapability: missing CAP_{missing.upper()} \(", said)


def test_all_missing_are_named() -> None:
    assert re.findall(r"CAP_\w+", load([])) == ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"]


def test_small_memlock() -> None:
    """Before 5.11 maps count as locked memory: what is in the way is named."""
    said = load(THREE, memlock="65536")
    assert said == "attached" or "memlock" in said.lower()


@pytest.mark.parametrize("level", [2, 3])
def test_paranoid(level: int) -> None:
    before = PARANOID.read_text()
    try:
        PARANOID.write_text(str(level))
    except OSError:
        pytest.skip(f"this kernel knows no perf_event_paranoid {level}")
    try:
        assert load(THREE) == "attached"
    finally:
        PARANOID.write_text(before)


@pytest.fixture(params=["integrity", "confidentiality"])  # in this order: no way leads back
def lockdown(request: pytest.FixtureRequest) -> str:
    level: str = request.param
    if not LOCKDOWN.exists():
        pytest.skip("this kernel has no lockdown")
    LOCKDOWN.write_text(level)
    return level


def test_locked_down(lockdown: str) -> None:
    said = load(THREE)
    assert said == "attached" or (lockdown == "confidentiality" and "lockdown" in said)
