"""NAT by fentry or kprobe on ``nf_nat_manip_pkt``, where it is done.

Each way is tried, for only trying tells: fentry is refused by some sandboxes, and on a module's function
(``nf_nat`` is a module nearly everywhere) it takes CAP_SYS_ADMIN; a kprobe needs CONFIG_KPROBES and, without
kprobe.multi, a perf event (``kernel.perf_event_paranoid``).
"""

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from natlens.errors import KernelError, MissingFeature
from natlens.kernel.libbpf import Object, check, library
from natlens.kernel.module_types import conntrack_types
from natlens.kernel.probe import reads_memory

__all__ = ["OBJECT", "Hook", "Maps", "attach_hook"]

OBJECT = Path(__file__).with_name("hooks.bpf.o")
FUNCTION = b"nf_nat_manip_pkt"
SHARED = "translations_windows", ".data.window", "counters"
OWN = "begun_connections", ".rodata.netns"
MACHINES = "x86_64", "aarch64"  # whose registers KPROBE_ARGUMENT (bpf/kernel_compat.h) knows


class Maps(Protocol):
    """The main object: its windows are written to."""

    def map_fd(self, name: str) -> int:
        """Return the file descriptor of a map."""
        ...


class _MultiOptions(ctypes.Structure):
    """``struct bpf_kprobe_multi_opts``: by name, because the kernel finds it whatever kallsyms shows to others."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("syms", ctypes.POINTER(ctypes.c_char_p)),
        ("addrs", ctypes.c_void_p),
        ("cookies", ctypes.c_void_p),
        ("cnt", ctypes.c_size_t),
        ("retprobe", ctypes.c_bool),
    )


class HookObject(Object):
    """The second object (``bpf/hooks.bpf.c``) with one program, on the maps of the first."""

    def __init__(self, shared: Maps, program: str) -> None:
        """Open and load it; raises KernelError with the kernel's word for why not."""
        super().__init__(OBJECT, conntrack_types())
        try:
            self._prepare(shared, program)
            self.load()
        except KernelError:
            self.close()
            raise

    def _prepare(self, shared: Maps, program: str) -> None:
        for name in self.map_names():
            if name in SHARED:
                check(self._lib.bpf_map__reuse_fd(self._map(name), shared.map_fd(name)), f"map {name}: share")
            elif name not in OWN:
                check(self._lib.bpf_map__set_autocreate(self._map(name), False), f"map {name}: leave out")
        each = None
        while each := self._lib.bpf_object__next_program(self._object, each):
            self._lib.bpf_program__set_autoload(each, False)
        self._lib.bpf_program__set_autoload(self.program(program), True)
        netns = Path("/proc/thread-self/ns/net").stat().st_ino
        self.set_constants(".rodata.netns", netns.to_bytes(4, sys.byteorder))

    def program(self, name: str) -> int:
        """Return libbpf's handle of a program."""
        return int(self._lib.bpf_object__find_program_by_name(self._object, name.encode()))


def _fentry(program: int) -> int | None:
    return library().bpf_program__attach_trace(program)  # type: ignore[no-any-return]


def _kprobe_multi(program: int) -> int | None:
    options = _MultiOptions(sz=ctypes.sizeof(_MultiOptions), syms=(ctypes.c_char_p * 1)(FUNCTION), cnt=1)
    return library().bpf_program__attach_kprobe_multi_opts(program, None, ctypes.byref(options))  # type: ignore[no-any-return]


def _kprobe(program: int) -> int | None:
    return library().bpf_program__attach_kprobe(program, False, FUNCTION)  # type: ignore[no-any-return]


class _Way(NamedTuple):
    name: str
    program: str
    attach: Callable[[int], int | None]


WAYS = {
    "fentry": (_Way("fentry", "nat_fentry", _fentry),),
    "kprobe": (
        _Way("kprobe.multi", "nat_kprobe_multi", _kprobe_multi),
        _Way("kprobe", "nat_kprobe", _kprobe),
    ),
}


class Hook:
    """An attached hook; it lives as long as this process."""

    def __init__(self, shared: Maps, way: _Way) -> None:
        """Load and attach; raises KernelError."""
        self.way = way.name
        self._object = HookObject(shared, way.program)
        self._link = way.attach(self._object.program(way.program))
        if not self._link:
            code = ctypes.get_errno()
            self._object.close()
            raise KernelError(f"{os.strerror(code)} on attaching")

    def program_fd(self) -> int:
        """Return the program's descriptor: the kernel's account of its run time hangs on it."""
        (program,) = (way.program for ways in WAYS.values() for way in ways if way.name == self.way)
        return self._object.program_fd(program)

    def close(self) -> None:
        """Detach; twice is fine."""
        if self._link:
            library().bpf_link__destroy(self._link)
            self._link = None
        self._object.close()


def attach_hook(name: str, shared: Maps) -> Hook:
    """Attach `fentry` or `kprobe` (by kprobe.multi where the kernel has it) for the calling thread's network namespace.

    Raises MissingFeature that says why not, each way's reason in turn.
    """
    if name == "kprobe" and platform.machine() not in MACHINES:
        raise MissingFeature(f"kprobe: the registers of {platform.machine()} are not known")
    if not reads_memory():
        raise MissingFeature(f"{name} reads the kernel's memory, too")
    reasons = []
    for way in WAYS[name]:
        try:
            return Hook(shared, way)
        except KernelError as error:
            reasons.append(f"{way.name}: {_first(str(error))}")
    raise MissingFeature("; ".join(reasons))


def _first(reason: str) -> str:
    """Return the first of the kernel's words: the rest is the verifier's and libbpf's account of them."""
    return reason.split(" | ", maxsplit=1)[0].removeprefix("the kernel refused the BPF programs: ")
