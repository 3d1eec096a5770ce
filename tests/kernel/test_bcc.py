"""Programs compiled by bcc: the counts of the CO-RE object, nothing left of the compiler, one line for an error."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from natlens.config import Options
from natlens.errors import KernelError, MissingFeature, NatlensError
from natlens.kernel import bcc_process, libbpf, loader, programs
from natlens.kernel.probe import VMLINUX_BTF
from natlens.kernel.windows import Windows
from tests.kernel.bcc import bcc_headers
from tests.kernel.conftest import Load
from tests.kernel.packets import makes_skb, templates

NOWHERE = Path("/nonexistent/btf")
PROGRAMS = "ingress_l2", "ingress_l3", "egress_l2", "egress_l3", "egress_port"
COMPARED = "octets", "packets", "tcp_flags", "syn", "syn_seq"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[loader.Compiled]:
    with bcc_headers(tmp_path_factory.mktemp("bcc")):
        made = programs.load(Options(loader="bcc"))
    assert isinstance(made, loader.Compiled)
    yield made
    made.close()


def _rows(one: libbpf.Object) -> dict[bytes, tuple[int, ...]]:
    windows = Windows(one)
    windows.take()
    for frame in templates():
        if makes_skb(frame, int.from_bytes(frame[12:14], "big")):
            for program in ("ingress_l2", "egress_l2"):
                libbpf.test_run(one.program_fd(program), frame)
    rows = windows.take().rows
    return {row["key"].tobytes(): tuple(int(row["value"][name]) for name in COMPARED) for row in rows}


def _entries(folder: str) -> list[str]:
    return [one.name for one in Path(folder).iterdir()]


def test_the_same_rows_as_the_compiled_object(compiled: loader.Compiled, load: Load) -> None:
    core = load()
    expected = _rows(core)
    assert len(expected) > 50
    assert _rows(compiled) == expected
    assert Windows(compiled).counters() == Windows(core).counters()


def test_nothing_of_the_compiler_is_left(compiled: loader.Compiled) -> None:
    assert compiled.peak_kib > 64 * 1024  # it was there
    mapped = Path("/proc/self/maps").read_text()
    assert "libbcc" not in mapped
    assert "LLVM" not in mapped
    children = [Path(f"/proc/self/task/{task}/children").read_text() for task in _entries("/proc/self/task")]
    assert not any(b"bcc_child" in Path(f"/proc/{pid}/cmdline").read_bytes() for one in children for pid in one.split())


def test_programs_go_with_their_descriptors(tmp_path: Path) -> None:
    with bcc_headers(tmp_path):
        before = len(_entries("/proc/self/fd"))
        made = programs.load(Options(loader="bcc"))
        for name in PROGRAMS:
            assert not os.get_inheritable(made.program_fd(name))
        with pytest.raises(KernelError, match="no program egress_l4"):
            made.program_fd("egress_l4")
        made.close()
    assert len(_entries("/proc/self/fd")) == before


def test_auto_takes_the_compiled_object_where_there_is_btf() -> None:
    one = loader.open_object("auto", programs.OBJECT)
    assert isinstance(one, loader.Compiled) == bool(loader.btf_lacks())
    one.close()


def test_auto_takes_bcc_where_there_is_no_btf() -> None:
    one = loader.open_object("auto", programs.OBJECT, NOWHERE)
    assert isinstance(one, loader.Compiled)
    one.close()


def test_auto_does_without_bcc_where_only_conntrack_has_no_btf(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if not VMLINUX_BTF.exists():
        pytest.skip("this kernel has no BTF")
    monkeypatch.setattr(loader, "btf_lacks", lambda _: "this kernel's BTF has no conntrack entry")
    monkeypatch.setattr(bcc_process, "_pythons", lambda: [["/bin/false"]])
    with caplog.at_level(logging.WARNING):
        one = programs.load(Options())
    assert not isinstance(one, loader.Compiled)
    assert "bcc cannot compile them here" in caplog.text
    one.close()


def test_core_without_btf_names_both_ways_out() -> None:
    with pytest.raises(MissingFeature, match=r"loader: core: /nonexistent/btf is not there.*distribution kernel.*bcc"):
        loader.open_object("core", programs.OBJECT, NOWHERE)


# Children that fail: a package `bcc` of the test's own, imported by this very interpreter.

STRANGER = "version = 1"
PRELUDE = "import sys\n\nclass BPF:\n    SCHED_CLS = 3\n"
NO_HEADERS = PRELUDE + (
    "    def __init__(self, **_):\n"
    "        sys.stderr.write('Unable to find kernel headers. Try rebuilding kernel\\n')\n"
    "        raise Exception('Failed to compile BPF module <text>')\n"
    "    def load_funcs(self, kind): ...\n"
)
BROKEN = PRELUDE + (
    "    def __init__(self, **_):\n"
    "        sys.stderr.write('natlens.bpf.c:7:1: error: unknown type name\\n1 error generated.\\n')\n"
    "        raise Exception('Failed to compile BPF module <text>')\n"
    "    def load_funcs(self, kind): ...\n"
)
REFUSED = PRELUDE + (
    "    def __init__(self, **_): ...\n"
    "    def load_funcs(self, kind):\n"
    "        sys.stderr.write('12: R1 invalid mem access\\nprocessed 13 insns (limit 1000000)\\n')\n"
    "        raise Exception('Failed to load BPF program ingress_l2: Permission denied')\n"
)
DIES = PRELUDE + "    def __init__(self, **_): sys.exit(9)\n    def load_funcs(self, kind): ...\n"


def _load_by(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, btf: Path | None = None) -> str:
    """Let a package of that source be the only bcc; returns the error."""
    if package:
        (tmp_path / "bcc").mkdir()
        (tmp_path / "bcc/__init__.py").write_text(package)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(bcc_process, "_pythons", lambda: [[sys.executable]])
    one = loader.open_object("auto" if btf else "bcc", programs.OBJECT, btf or VMLINUX_BTF)
    with pytest.raises(NatlensError) as raised:
        one.load()
    one.close()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_no_bcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = _load_by("raise ImportError('libbcc.so.0')", tmp_path, monkeypatch)
    assert said.startswith("loader: bcc: no bcc in ")
    assert "python3-bpfcc" in said


def test_the_other_package_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        said = _load_by(STRANGER, tmp_path, monkeypatch)
    assert "PyPI's package `bcc` is something else" in said
    assert f"{tmp_path}/bcc/__init__.py of {sys.executable} is not the BPF compiler collection" in caplog.text


def test_no_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = _load_by(NO_HEADERS, tmp_path, monkeypatch)
    assert f"install linux-headers-{os.uname().release}" in said
    assert "mount the host's /lib/modules" in said


def test_sources_that_do_not_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = _load_by(BROKEN, tmp_path, monkeypatch)
    assert said.endswith("natlens.bpf.c:7:1: error: unknown type name")


def test_programs_that_the_kernel_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = _load_by(REFUSED, tmp_path, monkeypatch)
    assert "Permission denied: 12: R1 invalid mem access" in said


def test_a_child_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ended with 9" in _load_by(DIES, tmp_path, monkeypatch)


def test_auto_without_btf_and_without_bcc_names_both_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = _load_by("raise ImportError", tmp_path, monkeypatch, NOWHERE)
    assert "carries no BTF" in said
    assert "python3-bpfcc" in said
    assert said.endswith("or use a kernel with BTF")


def test_the_sources_are_where_they_are_looked_for() -> None:
    assert (loader.sources() / loader.MAIN).is_file()
    assert f'#include "{loader.MAPS_HEADER}"\n' in (loader.sources() / loader.MAIN).read_text()


# As a setcap'd binary of another user has them: permitted and effective, not ambient.
OTHER_USER = "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"
THREE = "+bpf,+perfmon,+net_admin"
ASKED = """
import ctypes, subprocess
ctypes.CDLL(None).prctl(47, 4, 0, 0, 0)  # PR_CAP_AMBIENT_CLEAR_ALL
from natlens.kernel.ambient import passed_on
def child():
    return subprocess.check_output(["grep", "-E", "CapEff|CapAmb", "/proc/self/status"], text=True).split()[1::2]
before = child()
with passed_on():
    within = child()
print(before, within, child())
"""


def test_a_child_has_the_capabilities_of_an_agent_that_is_not_root() -> None:
    command = *OTHER_USER, f"--inh-caps={THREE}", f"--ambient-caps={THREE}", sys.executable, "-c", ASKED
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Permission denied" in done.stderr:
        pytest.skip("another user may not run this Python")
    three = f"{1 << 39 | 1 << 38 | 1 << 12:016x}"
    assert done.stdout.split("\n")[0] == f"{['0' * 16] * 2} {[three] * 2} {['0' * 16] * 2}", done.stderr
