"""A kernel whose own BTF does not know the conntrack entry: the module's file does, and three capabilities suffice."""

import ctypes
import json
import struct
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from natlens.config import Options
from natlens.kernel import programs
from natlens.kernel.btf import STRUCT, KernelTypes, types_of
from natlens.kernel.libbpf import library
from natlens.kernel.module_types import HEADER, conntrack_types, whole
from natlens.kernel.probe import Features

ENTRY, RENAMED = b"\0nf_conn\0", b"\0xx_conn\0"
MEMBER, TYPE = 12, 12  # sizes of struct btf_member and struct btf_type
THREE = "-all,+bpf,+perfmon,+net_admin"
LOAD = """
import sys
from contextlib import closing
from natlens.config import Options
from natlens.kernel import module_types, programs
from natlens.kernel.loader import Compiled
assert module_types.conntrack_types() is not None
with closing(programs.load(Options(nat_source="tc"))) as loaded:
    print("bcc" if isinstance(loaded, Compiled) else "core")
"""


def record(name: str) -> bytes:
    """Return a struct of the kernel's BTF as it stands there."""
    lib = library()
    with KernelTypes() as types:
        number = lib.btf__find_by_name_kind(types._kernel, name.encode(), STRUCT)
        if number <= 0:
            pytest.skip(f"this kernel's own BTF has no struct {name} to take away")
        at = lib.btf__type_by_id(types._kernel, number)
        (info,) = struct.unpack_from("=I", ctypes.string_at(at, TYPE), 4)
        return ctypes.string_at(at, TYPE + MEMBER * (info & 0xFFFF))


def split(base: bytes) -> bytes:
    """Return a module's BTF: nf_conn alone, whose members are of the base's types."""
    magic, version, flags, *_, strings = HEADER.unpack_from(base)
    one = struct.pack("=I", strings) + record("nf_conn")[4:]  # the name is the first string after the base's
    text = b"nf_conn\0"
    return HEADER.pack(magic, version, flags, HEADER.size, 0, len(one), len(one), len(text)) + one + text


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """A folder like /sys/kernel/btf, where only the module's file has struct nf_conn."""
    base = types_of("vmlinux").read_bytes()
    (tmp_path / "vmlinux").write_bytes(base.replace(ENTRY, RENAMED))
    (tmp_path / "nf_conntrack").write_bytes(split(base))
    return tmp_path


def test_types_and_strings_of_both(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lib = library()
    lib.btf__new.restype, lib.btf__new.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_uint32]
    joined = whole((fake / "vmlinux").read_bytes(), (fake / "nf_conntrack").read_bytes())
    types = lib.btf__new(joined, len(joined))
    assert types
    number = lib.btf__find_by_name_kind(types, b"nf_conn", STRUCT)
    assert number > lib.btf__find_by_name_kind(types, b"xx_conn", STRUCT) > 0
    assert ctypes.string_at(lib.btf__type_by_id(types, number) + 4, 8) == record("nf_conn")[4:12]
    lib.btf__free(types)
    monkeypatch.setattr("natlens.kernel.btf.TYPES", fake)
    with KernelTypes() as kernel:
        assert kernel.module_has_struct("nf_conntrack", "nf_conn")
        assert not kernel.module_has_struct("nf_nat", "nf_conn")


def test_nothing_is_made_where_the_kernel_knows(fake: Path) -> None:
    assert fake
    assert conntrack_types() is None


def test_loads_with_three_capabilities(fake: Path) -> None:
    """In a mount namespace of its own, libbpf included."""
    script = (
        f"mount --bind {fake} /sys/kernel/btf && exec setpriv --no-new-privs --bounding-set={THREE} --inh-caps={THREE} "
    )
    command = ["unshare", "--mount", "sh", "-c", script + '"$@"', "sh", sys.executable, "-c", LOAD]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "core\n"), done.stderr


def test_three_capabilities_get_programs_that_call_no_function_of_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Debian, whose nf_conntrack is a module: libbpf would look for its functions in BTF that it may not have."""
    features = replace(Features.probe(), lookup=False)
    monkeypatch.setattr(Features, "probe", lambda: features)
    with closing(programs.load(Options(window_rows=1024, window_translations=1024))) as loaded:
        assert not loaded.looks_up
    command = ["bpftool", "-j", "btf", "dump", "file", str(programs.NO_KFUNCS)]
    types = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["types"]
    assert not [one["name"] for one in types if one["kind"] == "FUNC" and one["linkage"] == "extern"]
