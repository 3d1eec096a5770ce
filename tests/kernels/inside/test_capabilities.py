"""Which capabilities and which locks natlens works with, and what it says where it does not. Only in a VM."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from natlens.kernel.probe import Features
from tests.kernels.inside.privileges import Said, file_capabilities, load

pytestmark = pytest.mark.skipif("NATLENS_VM" not in os.environ, reason="alters the whole machine: only in a VM")

THREE = ("bpf", "perfmon", "net_admin")
OTHER = 65532
PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
LOCKDOWN = Path("/sys/kernel/security/lockdown")
COUNTS_MEMLOCK = not Features.probe().clock  # both came with 5.11
NEEDED = (*THREE, "sys_resource") if COUNTS_MEMLOCK else THREE


def test_as_another_user() -> None:
    assert load(NEEDED, uid=OTHER).end == "attached"


def test_interpreter_with_file_capabilities() -> None:
    """A copy of the interpreter, as `setcap` makes it, started by another user."""
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        Path(folder).chmod(0o755)
        python = Path(folder, "python")
        shutil.copy(Path(sys.executable).resolve(), python)
        os.setxattr(python, "security.capability", file_capabilities(NEEDED))
        Path("/root").chmod(0o755)  # the guest's own: the interpreter's library may lie there
        paths = [os.environ["PYTHONPATH"], *(path for path in sys.path if path.endswith("site-packages"))]
        environment = {**os.environ, "PYTHONHOME": sys.base_prefix, "PYTHONPATH": ":".join(paths)}
        command = [str(python), "-m", "tests.kernels.inside.privileges"]
        done = subprocess.run(
            command, env=environment, user=OTHER, group=OTHER, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert Said(*json.loads(done.stdout)).end == "attached"


def test_old_capability_stands_for_two() -> None:
    assert load(["sys_admin", "net_admin", "sys_resource"]).end == "attached"


@pytest.mark.parametrize("missing", THREE)
def test_one_missing_is_named(missing: str) -> None:
    said = load([name for name in THREE if name != missing])
    assert re.match(rf"MissingCapability: missing CAP_{missing.upper()} \(", said.end)


def test_all_missing_are_named() -> None:
    assert re.findall(r"CAP_\w+", load([]).end) == ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"]


def test_small_memlock() -> None:
    """Before 5.11 maps count as locked memory: what is in the way is named, and CAP_SYS_RESOURCE takes it away."""
    small = load(THREE, memlock=65536)
    if COUNTS_MEMLOCK:
        assert re.match(r"KernelError: RLIMIT_MEMLOCK is 64 KiB, .*CAP_SYS_RESOURCE", small.end)
        assert load(NEEDED, memlock=65536).end == "attached"
    else:
        assert small.end == "attached"


@pytest.mark.parametrize("level", [2, 3])
def test_as_kubernetes_gives_them(level: int) -> None:
    """Uid 0, drop ALL, add three, no_new_privs, with perf events forbidden or not."""
    before = PARANOID.read_text()
    try:
        PARANOID.write_text(str(level))
    except OSError:
        pytest.skip(f"this kernel knows no perf_event_paranoid {level}")
    try:
        assert load(NEEDED).end == "attached"
    finally:
        PARANOID.write_text(before)


@pytest.mark.parametrize("level", ["integrity", "confidentiality"])  # in this order: no way leads back
def test_locked_down(level: str) -> None:
    """Integrity takes nothing away; confidentiality what reads the kernel's memory, and a line says so."""
    if not LOCKDOWN.exists():
        pytest.skip("this kernel has no lockdown")
    LOCKDOWN.write_text(level)
    said = load(NEEDED)
    assert said.end == "attached"
    told = [line for line in said.lines if "lockdown" in line]
    assert len(told) == (level == "confidentiality"), said.lines
