"""libbpf through ctypes: the C boundary, typed once.

libbpf.so.1 (≥ 1.0) is on nearly every distribution through iproute2. It opens the CO-RE object,
relocates it against the running kernel and loads it; attaching by tcx needs a newer libbpf than
many have, so that one call goes straight to bpf(2).
"""

import ctypes
import ctypes.util
import errno
import os
import platform
from pathlib import Path
from typing import Any

from natlens.errors import KernelError, MissingFeature

__all__ = [
    "BPF_TCX_EGRESS",
    "BPF_TCX_INGRESS",
    "KTIME_GET_COARSE_NS",
    "Object",
    "check",
    "has_helper",
    "library",
    "link_tcx",
    "test_run",
    "version",
]

BPF_LINK_CREATE = 28
LOG_BYTES = 4096
BPF_PROG_TYPE_SCHED_CLS = 3
KTIME_GET_COARSE_NS = 160  # enum bpf_func_id
BPF_TCX_INGRESS, BPF_TCX_EGRESS = 46, 47
BPF_F_BEFORE = 1 << 3  # without a relative: at the head
SYS_BPF = {"x86_64": 321, "aarch64": 280, "s390x": 351, "ppc64le": 361, "riscv64": 280}

_Print = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


def _load() -> ctypes.CDLL:
    try:
        lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise MissingFeature(
            "libbpf.so.1 is not installed: install your distribution's libbpf (Debian: libbpf1, Fedora: libbpf)"
        ) from error
    pointer, text, integer = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "bpf_object__open_file": (pointer, [text, pointer]),
        "bpf_object__load": (integer, [pointer]),
        "bpf_object__close": (None, [pointer]),
        "bpf_object__find_map_by_name": (pointer, [pointer, text]),
        "bpf_object__find_program_by_name": (pointer, [pointer, text]),
        "libbpf_probe_bpf_helper": (integer, [integer, integer, pointer]),
        "bpf_map__set_max_entries": (integer, [pointer, ctypes.c_uint32]),
        "bpf_map__set_initial_value": (integer, [pointer, text, ctypes.c_size_t]),
        "bpf_map__fd": (integer, [pointer]),
        "bpf_program__fd": (integer, [pointer]),
        "bpf_object__next_map": (pointer, [pointer, pointer]),
        "bpf_object__next_program": (pointer, [pointer, pointer]),
        "bpf_map__name": (text, [pointer]),
        "bpf_map__reuse_fd": (integer, [pointer, integer]),
        "bpf_map__set_autocreate": (integer, [pointer, ctypes.c_bool]),
        "bpf_program__set_autoload": (integer, [pointer, ctypes.c_bool]),
        "bpf_program__set_attach_target": (integer, [pointer, integer, text]),
        "bpf_program__attach_trace": (pointer, [pointer]),
        "bpf_program__attach_kprobe": (pointer, [pointer, ctypes.c_bool, text]),
        "bpf_program__attach_kprobe_multi_opts": (pointer, [pointer, text, pointer]),
        "bpf_link__destroy": (integer, [pointer]),
        "bpf_map_lookup_elem": (integer, [integer, pointer, pointer]),
        "bpf_map_update_elem": (integer, [integer, pointer, pointer, ctypes.c_uint64]),
        "bpf_map_delete_elem": (integer, [integer, pointer]),
        "bpf_map_lookup_and_delete_batch": (integer, [integer] + [pointer] * 6),
        "bpf_map_create": (integer, [integer, text] + [ctypes.c_uint32] * 3 + [text]),
        "bpf_obj_pin": (integer, [integer, text]),
        "bpf_obj_get": (integer, [text]),
        "bpf_link_update": (integer, [integer, integer, pointer]),
        "bpf_prog_test_run_opts": (integer, [integer, pointer]),
        "libbpf_set_print": (pointer, [pointer]),
        "libbpf_num_possible_cpus": (integer, []),
        "libbpf_version_string": (text, []),
        "btf__load_vmlinux_btf": (pointer, []),
        "btf__parse_split": (pointer, [text, pointer]),
        "btf__free": (None, [pointer]),
        "btf__find_by_name_kind": (integer, [pointer, text, ctypes.c_uint32]),
        "btf__type_by_id": (pointer, [pointer, ctypes.c_uint32]),
        "btf__name_by_offset": (text, [pointer, ctypes.c_uint32]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


_lib: ctypes.CDLL | None = None
_libc = ctypes.CDLL(None, use_errno=True)
_log: list[str] = []


@_Print  # type: ignore[untyped-decorator]  # ctypes cannot say it
def _collect(_level: int, template: bytes, arguments: int | None) -> int:
    text = ctypes.c_void_p()
    written: int = _libc.vasprintf(ctypes.byref(text), template, ctypes.c_void_p(arguments))
    if written >= 0 and text.value:
        last = min(written, LOG_BYTES)  # the verifier's log comes as one text, up to 16 MiB, and its end says why
        _log.append(ctypes.string_at(text.value + written - last, last).decode(errors="replace").rstrip())
        _libc.free(text)
    del _log[:-200]
    return written


def library() -> ctypes.CDLL:
    """Return libbpf, loaded on first use; raises MissingFeature where it is not installed."""
    global _lib  # noqa: PLW0603  # one library a process
    if _lib is None:
        _lib = _load()
        _lib.libbpf_set_print(ctypes.cast(_collect, ctypes.c_void_p))
    return _lib


def check(result: int, what: str) -> int:
    """Return ``result``; raises KernelError if it is a negative error number."""
    if result < 0:
        raise KernelError(f"{what}: {os.strerror(-result)} ({errno.errorcode.get(-result, -result)})")
    return result


class _OpenOptions(ctypes.Structure):
    """``struct bpf_object_open_opts`` of libbpf 1.0."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("object_name", ctypes.c_char_p),
        ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", ctypes.c_char_p),
        ("reserved", ctypes.c_uint32),
        ("kconfig", ctypes.c_char_p),
        ("types", ctypes.c_char_p),  # btf_custom_path
    )


class Object:
    """An opened CO-RE object; :meth:`load` puts its maps and programs into the kernel."""

    looks_up = False
    """Whether its programs ask conntrack for what comes in."""

    def __init__(self, path: Path, types: int | None = None) -> None:
        """Open ``path``; raises MissingFeature if it is not there or not an object.

        ``types``: a descriptor of BTF to be used instead of the kernel's, which is closed with this object.
        """
        self._lib = library()
        _log.clear()
        self._types = types
        options = _OpenOptions(ctypes.sizeof(_OpenOptions), types=b"" if types is None else b"/proc/self/fd/%d" % types)
        self._object = self._lib.bpf_object__open_file(
            str(path).encode(), None if types is None else ctypes.byref(options)
        )
        if not self._object:
            self.close()
            raise MissingFeature(f"{path}: cannot be opened as a BPF object: {self._reason()}; reinstall natlens")

    def _reason(self) -> str:
        return next((line for line in _log if line), os.strerror(ctypes.get_errno()))

    def resize(self, name: str, entries: int) -> None:
        """Set a map's max_entries before it is loaded."""
        check(self._lib.bpf_map__set_max_entries(self._map(name), entries), f"map {name}: size {entries}")

    def set_constants(self, section: str, values: bytes) -> None:
        """Set a section of constants before it is loaded: the verifier takes what they rule out for dead code."""
        check(self._lib.bpf_map__set_initial_value(self._map(section), values, len(values)), f"constants {section}")

    def load(self) -> None:
        """Load everything; raises KernelError with the kernel's (or verifier's) own last words."""
        self._look_at_modules()
        _log.clear()
        result = self._lib.bpf_object__load(self._object)
        if result < 0:
            said = [line for text in _log for line in text.splitlines() if line and "PROG LOAD LOG" not in line]
            raise KernelError(
                f"the kernel refused the BPF programs: {os.strerror(-result)}"
                + (f": {' | '.join(said[-4:])}" if said else "")
            )

    def _look_at_modules(self) -> None:
        """Let libbpf read the BTF of modules, or be refused, now.

        It tries once. Where it does so for a kfunc of a module that may be missing, and is refused (no CAP_SYS_ADMIN),
        it gives up loading (load_module_btfs() in find_ksym_btf_id()); a second time it goes on without. Looking for
        a function to attach to makes it try.
        """
        if first := self._lib.bpf_object__next_program(self._object, None):
            self._lib.bpf_program__set_attach_target(first, 0, b"natlens_has_no_such_function")

    def _map(self, name: str) -> int:
        found = self._lib.bpf_object__find_map_by_name(self._object, name.encode())
        if not found:
            raise KernelError(
                f"the BPF object has no map {name}: it does not belong to this version; reinstall natlens"
            )
        return int(found)

    def map_fd(self, name: str) -> int:
        """Return the file descriptor of a loaded map."""
        return check(self._lib.bpf_map__fd(self._map(name)), f"map {name}")

    def map_names(self) -> list[str]:
        """Return the names of all maps, those of global variables (`.data…`) included."""
        names: list[str] = []
        found = self._lib.bpf_object__next_map(self._object, None)
        while found:
            names.append(self._lib.bpf_map__name(found).decode())
            found = self._lib.bpf_object__next_map(self._object, found)
        return names

    def program_fd(self, name: str) -> int:
        """Return the file descriptor of a loaded program."""
        found = self._lib.bpf_object__find_program_by_name(self._object, name.encode())
        return check(self._lib.bpf_program__fd(found), f"program {name}")

    def close(self) -> None:
        """Close every file descriptor: maps and programs that nothing else holds go away."""
        if self._object:
            self._lib.bpf_object__close(self._object)
            self._object = None
        if self._types is not None:
            os.close(self._types)
            self._types = None


class _TestRun(ctypes.Structure):
    """``struct bpf_test_run_opts``."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("data_in", ctypes.c_char_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_char_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


def test_run(  # the kernel calls it so
    program_fd: int,
    packet: bytes,
    repeat: int = 1,  # noqa: PT028
    ctx: bytes | None = None,  # noqa: PT028
) -> tuple[int, int]:
    """Run a program on one packet ``repeat`` times; returns what it returned and the mean duration in ns.

    ``ctx`` is a ``struct __sk_buff``. Raises KernelError with EINVAL for what the kernel makes no skb of (shorter than
    its link and network header, or longer than a page less its own use).
    """
    size = ctypes.sizeof(_TestRun)
    options = _TestRun(size, packet, None, len(packet), 0, ctx, None, len(ctx) if ctx else 0, 0, 0, repeat, 0, 0, 0, 0)
    result = library().bpf_prog_test_run_opts(program_fd, ctypes.byref(options))
    if result < 0:
        check(result, f"run of program fd {program_fd} on {len(packet)} octets")
    return options.retval, options.duration


def has_helper(number: int) -> bool:
    """Tell whether the kernel lets a tc program of this process call a helper (``enum bpf_func_id``)."""
    result: int = library().libbpf_probe_bpf_helper(BPF_PROG_TYPE_SCHED_CLS, number, None)
    return result == 1


def version() -> str:
    """Return libbpf's version."""
    return bytes(library().libbpf_version_string()).decode().removeprefix("v")


def link_tcx(program_fd: int, ifindex: int, attach_type: int) -> int:
    """Attach a program at the head of an interface's tcx chain; returns the link's file descriptor.

    Raises OSError: EINVAL where the kernel has no tcx (before v6.6, commit e420bed02507), ENODEV
    where the interface is gone.
    """
    # union bpf_attr, link_create: 4 words, then tcx {relative, -, revision}
    attributes = (ctypes.c_uint32 * 8)(program_fd, ifindex, attach_type, BPF_F_BEFORE)
    number = SYS_BPF.get(platform.machine())
    if number is None:
        raise OSError(errno.EINVAL, f"bpf(2) has no known number on {platform.machine()}")
    fd: int = _libc.syscall(number, BPF_LINK_CREATE, attributes, ctypes.sizeof(attributes))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return fd
