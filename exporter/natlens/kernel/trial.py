"""What this kernel lets this process do, found by trying: programs are loaded and let go, never attached."""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from natlens.errors import MissingFeature
from natlens.kernel import bpf
from natlens.kernel.attach import TcxAttachment
from natlens.kernel.bpf import RETURN_0, SCHED_CLS, instruction
from natlens.kernel.btf import KernelTypes

__all__ = [
    "HOOKED",
    "Trial",
    "try_fentry",
    "try_kprobe",
    "try_lookup",
    "try_multi",
    "try_program",
    "try_reading",
    "try_tcx",
]

HOOKED = "nf_nat_manip_pkt"
NOBODY = b"natlens_has_no_such_function"
KPROBE_TYPE = Path("/sys/bus/event_source/devices/kprobe/type")
PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
KALLSYMS = Path("/proc/kallsyms")

KPROBE, TRACING = 2, 26  # BPF_PROG_TYPE_*
TRACE_FENTRY, TRACE_KPROBE_MULTI = 24, 42  # BPF_TRACE_*
LINK_CREATE = 28
SYS_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241, "s390x": 331, "ppc64le": 319, "riscv64": 241}
FD_CLOEXEC = 8  # PERF_FLAG_FD_CLOEXEC
REFUSED = (errno.EPERM, errno.EACCES)

_libc = ctypes.CDLL(None, use_errno=True)


class Trial(NamedTuple):
    """What became of it."""

    works: bool
    why: str
    """Why not; empty where it works."""
    refused: bool = False
    """It is there, and this process may not."""


WORKS = Trial(True, "")


class _Multi(ctypes.Structure):
    """``union bpf_attr``, ``link_create.kprobe_multi``."""

    _fields_ = (
        ("prog_fd", ctypes.c_uint32),
        ("target_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("multi_flags", ctypes.c_uint32),
        ("cnt", ctypes.c_uint32),
        ("syms", ctypes.c_uint64),
        ("addrs", ctypes.c_uint64),
        ("cookies", ctypes.c_uint64),
    )


def _call(function: int, *, of_module: bool) -> bytes:
    return instruction(0x85, src=2, off=int(of_module), imm=function)  # BPF_PSEUDO_KFUNC_CALL


def _tried(attempt: Callable[[], object]) -> Trial:
    try:
        attempt()
    except OSError as error:
        return Trial(False, error.strerror or str(error), error.errno in REFUSED)
    except MissingFeature as error:
        return Trial(False, str(error))
    return WORKS


def try_program() -> Trial:
    """Load the least tc program there is."""
    return _tried(lambda: os.close(bpf.load(SCHED_CLS, RETURN_0)))


def try_tcx() -> Trial:
    """Ask for tcx links (v6.6, commit e420bed02507) by an interface that cannot exist."""

    def attempt() -> None:
        with bpf.owned(bpf.load(SCHED_CLS, RETURN_0)) as program:
            if not TcxAttachment.supported(program):
                raise MissingFeature("this kernel has no tcx links (6.6 has them)")

    return _tried(attempt)


def try_reading() -> Trial:
    """Load a tc program that reads its own packet, as the programs do (``bpf_probe_read_kernel``)."""
    return _tried(_read)


def _read() -> None:
    """Every source that hears of packets reads the kernel's memory, hooks too."""
    try:
        os.close(bpf.load_reading())
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise MissingFeature("lockdown: confidentiality lets no program read the kernel's memory") from error


def try_lookup() -> Trial:
    """Load a tc program that asks conntrack for a tuple (``bpf_skb_ct_lookup``, v5.18, commit b4c2b9593a1c)."""

    def attempt() -> None:
        with KernelTypes() as types, ExitStack() as stack:
            module = not types.has_function("bpf_skb_ct_lookup")
            found = [_function(types, "nf_conntrack", name) for name in ("bpf_skb_ct_lookup", "bpf_ct_release")]
            if not all(found):
                raise MissingFeature(
                    "this kernel has no bpf_skb_ct_lookup (5.18 has it), or nf_conntrack is not loaded"
                )
            fd = stack.enter_context(bpf.module_types("nf_conntrack")) if module else 0
            os.close(bpf.load(SCHED_CLS, _lookup(*found, of_module=module), types_fd=fd))

    return _tried(attempt)


def _lookup(look_up: int, release: int, *, of_module: bool) -> bytes:
    """Return the program: an empty tuple and empty options on the stack, the call, the release of what it gave."""
    zeros = b"".join(instruction(0x7A, dst=10, off=-8 * slot) for slot in range(1, 5))
    return b"".join(
        (
            zeros,
            instruction(0xBF, dst=2, src=10) + instruction(0x07, dst=2, imm=-16),
            instruction(0xB7, dst=3, imm=12),
            instruction(0xBF, dst=4, src=10) + instruction(0x07, dst=4, imm=-32),
            instruction(0xB7, dst=5, imm=12),
            _call(look_up, of_module=of_module),
            instruction(0x15, off=2),  # nothing: nothing to release
            instruction(0xBF, dst=1) + _call(release, of_module=of_module),
            RETURN_0,
        )
    )


def _function(types: KernelTypes, module: str, name: str) -> int:
    return types.function(name) or types.module_function(module, name)


def try_fentry(function: str = HOOKED, module: str = "nf_nat") -> Trial:
    """Load a program for fentry of a function, of the kernel or of a module."""

    def attempt() -> None:
        _read()
        with KernelTypes() as types, ExitStack() as stack:
            number, of_module = _function(types, module, function), not types.has_function(function)
            if not number:
                raise MissingFeature(f"{function} is not there: the module {module} is not loaded, or has no BTF")
            fd = stack.enter_context(bpf.module_types(module)) if of_module else 0
            os.close(bpf.load(TRACING, RETURN_0, attach_kind=TRACE_FENTRY, attach_to=number, types_fd=fd))

    return _tried(attempt)


def try_kprobe(function: str = HOOKED) -> Trial:
    """Ask for a kprobe by a function that cannot exist: ENOENT means that kprobes are allowed."""

    def attempt() -> None:
        _read()
        if not KPROBE_TYPE.exists():
            raise MissingFeature("this kernel has no kprobes (CONFIG_KPROBE_EVENTS)")
        os.close(bpf.load(KPROBE, RETURN_0))
        try:
            os.close(_open_kprobe(NOBODY))
        except FileNotFoundError:
            if not _is_symbol(function):
                raise MissingFeature(f"{function} is not there: the module nf_nat is not loaded") from None
        except PermissionError as error:
            raise PermissionError(error.errno, f"{error.strerror} ({_paranoia()})") from error

    return _tried(attempt)


def _open_kprobe(function: bytes) -> int:
    """Open a perf event of the kprobe PMU (v4.17, commit e12f03d7031a); raises OSError."""
    number = SYS_PERF_EVENT_OPEN.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"perf_event_open(2) has no known number on {platform.machine()}")
    name = ctypes.create_string_buffer(function)
    # struct perf_event_attr: type, size, …, config1 (kprobe_func) at 56, config2 (probe_offset) at 64
    size = 112
    packed = struct.pack("=II48xQQ40x", int(KPROBE_TYPE.read_text()), size, ctypes.addressof(name), 0)
    fd: int = _libc.syscall(number, ctypes.create_string_buffer(packed, size), -1, 0, -1, FD_CLOEXEC)
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return fd


def _paranoia() -> str:
    try:
        return f"kernel.perf_event_paranoid is {PARANOID.read_text().strip()}"
    except OSError:
        return "kernel.perf_event_paranoid cannot be read"


def _is_symbol(function: str) -> bool:
    try:
        with KALLSYMS.open() as symbols:
            return any(line.split(maxsplit=3)[2:3] == [function] for line in symbols)
    except OSError:
        return False


def try_multi() -> Trial:
    """Ask for kprobe.multi (v5.18, commit 0dcac2725406) by a function that cannot exist."""

    def attempt() -> None:
        name = ctypes.create_string_buffer(NOBODY)
        names = (ctypes.c_uint64 * 1)(ctypes.addressof(name))
        with bpf.owned(bpf.load(KPROBE, RETURN_0, attach_kind=TRACE_KPROBE_MULTI)) as program:
            try:
                os.close(bpf.call(LINK_CREATE, _multi(program, names)))
            except OSError as error:
                if error.errno not in (errno.ESRCH, errno.ENOENT):
                    raise

    return _tried(attempt)


def _multi(program: int, names: "ctypes.Array[ctypes.c_uint64]") -> _Multi:
    return _Multi(prog_fd=program, attach_type=TRACE_KPROBE_MULTI, cnt=1, syms=ctypes.addressof(names))
