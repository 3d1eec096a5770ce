"""bpf(2) itself, for what libbpf is not asked: trial programs, and whose programs are where.

Numbers and layouts: ``linux/bpf.h`` of the kernel's UAPI; a longer ``union bpf_attr`` than a kernel knows is fine as
long as the rest is 0.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from natlens.kernel.libbpf import SYS_BPF

__all__ = [
    "RETURN_0",
    "SCHED_CLS",
    "Program",
    "call",
    "instruction",
    "load",
    "load_reading",
    "module_types",
    "owned",
    "program",
    "programs",
    "tcx_chain",
    "tcx_links",
]

PROG_LOAD, PROG_GET_NEXT_ID, PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD, PROG_QUERY = 5, 11, 13, 15, 16
BTF_GET_FD_BY_ID, BTF_GET_NEXT_ID = 19, 23
SCHED_CLS = 3  # BPF_PROG_TYPE_SCHED_CLS
PROBE_READ_KERNEL = 113  # enum bpf_func_id
MOST_IN_A_CHAIN = 64  # BPF_MPROG_MAX
LOG_BYTES = 4096

_libc = ctypes.CDLL(None, use_errno=True)
u32, u64 = ctypes.c_uint32, ctypes.c_uint64


class _Load(ctypes.Structure):
    _fields_ = (
        ("prog_type", u32),
        ("insn_cnt", u32),
        ("insns", u64),
        ("license", u64),
        ("log_level", u32),
        ("log_size", u32),
        ("log_buf", u64),
        ("kern_version", u32),
        ("prog_flags", u32),
        ("prog_name", ctypes.c_char * 16),
        ("prog_ifindex", u32),
        ("expected_attach_type", u32),
        ("prog_btf_fd", u32),
        ("func_info_rec_size", u32),
        ("func_info", u64),
        ("func_info_cnt", u32),
        ("line_info_rec_size", u32),
        ("line_info", u64),
        ("line_info_cnt", u32),
        ("attach_btf_id", u32),
        ("attach_btf_obj_fd", u32),
        ("core_relo_cnt", u32),
        ("fd_array", u64),
    )


class _Id(ctypes.Structure):
    _fields_ = (("id", u32), ("next_id", u32), ("open_flags", u32))


class _Info(ctypes.Structure):
    _fields_ = (("bpf_fd", u32), ("info_len", u32), ("info", u64))


class _ProgramInfo(ctypes.Structure):
    _fields_ = (("type", u32), ("id", u32), ("rest", ctypes.c_char * 56), ("name", ctypes.c_char * 16))


class _TypesInfo(ctypes.Structure):
    _fields_ = (
        ("btf", u64),
        ("btf_size", u32),
        ("id", u32),
        ("name", u64),
        ("name_len", u32),
        ("kernel_btf", u32),
    )


class _Query(ctypes.Structure):
    _fields_ = (
        ("target_ifindex", u32),
        ("attach_type", u32),
        ("query_flags", u32),
        ("attach_flags", u32),
        ("prog_ids", u64),
        ("count", u32),
        ("reserved", u32),
        ("prog_attach_flags", u64),
        ("link_ids", u64),
        ("link_attach_flags", u64),
        ("revision", u64),
    )


class Program(NamedTuple):
    """A loaded program: BPF_PROG_TYPE_*, and the first 15 characters of its name."""

    kind: int
    name: str


def call(command: int, attributes: ctypes.Structure) -> int:
    """Call bpf(2) and return what it returns; raises OSError."""
    number = SYS_BPF.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf(2) has no known number on {platform.machine()}")
    result: int = _libc.syscall(number, command, ctypes.byref(attributes), ctypes.sizeof(attributes))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def load(
    kind: int,
    code: bytes,
    *,
    attach_kind: int = 0,
    attach_to: int = 0,
    types_fd: int = 0,
    name: str = "natlens_trial",
) -> int:
    """Load a program of 8-octet instructions and return its descriptor; nothing is attached.

    ``attach_to``: the BTF id of the function that a tracing program is for. ``types_fd``: the BTF of the module that
    has it, or that has the kernel function which the program calls with 1 in ``off``. Raises OSError with the
    verifier's last line.
    """
    text, log = ctypes.create_string_buffer(code, len(code)), bytearray(LOG_BYTES)
    said = (ctypes.c_char * LOG_BYTES).from_buffer(log)
    license_text, fds = ctypes.create_string_buffer(b"GPL"), (ctypes.c_int32 * 2)(0, types_fd)
    attributes = _Load(
        prog_type=kind,
        insn_cnt=len(code) // 8,
        insns=ctypes.addressof(text),
        license=ctypes.addressof(license_text),
        log_level=1,
        log_size=LOG_BYTES,
        log_buf=ctypes.addressof(said),
        prog_name=name.encode()[:15],
        expected_attach_type=attach_kind,
        attach_btf_id=attach_to,
        attach_btf_obj_fd=types_fd if attach_to else 0,
        fd_array=ctypes.addressof(fds) if types_fd and not attach_to else 0,
    )
    try:
        return call(PROG_LOAD, attributes)
    except OSError as error:
        lines = said.value.decode(errors="replace").strip().splitlines()
        words = [line for line in lines if not line.startswith(("processed ", "verification time"))]
        raise OSError(error.errno, f"{error.strerror}{f': {words[-1]}' if words else ''}") from error


def instruction(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    """Return one instruction."""
    return struct.pack("=BBhi", code, src << 4 | dst, off, imm)


RETURN_0 = instruction(0xB7) + instruction(0x95)
READ_CONTEXT = b"".join(
    (
        instruction(0x7A, dst=10, off=-8),
        instruction(0xBF, dst=3, src=1),
        instruction(0xBF, dst=1, src=10) + instruction(0x07, dst=1, imm=-8),
        instruction(0xB7, dst=2, imm=8),
        instruction(0x85, imm=PROBE_READ_KERNEL),
        RETURN_0,
    )
)


def load_reading() -> int:
    """Load a tc program that reads its packet's kernel side and return its descriptor.

    By ``bpf_probe_read_kernel``: raises OSError, EINVAL where lockdown is ``confidentiality``.
    """
    return load(SCHED_CLS, READ_CONTEXT)


@contextmanager
def owned(fd: int) -> Iterator[int]:
    """Yield a descriptor and close it."""
    try:
        yield fd
    finally:
        os.close(fd)


def _each(command: int) -> Iterator[int]:
    attributes = _Id()
    while True:
        try:
            call(command, attributes)
        except FileNotFoundError:
            return
        attributes.id = attributes.next_id
        yield attributes.next_id


def program(number: int) -> Program:
    """Return the program of an id; raises OSError: EPERM without CAP_SYS_ADMIN, ENOENT where it is gone."""
    with owned(call(PROG_GET_FD_BY_ID, _Id(id=number))) as fd:
        info = _ProgramInfo()
        call(OBJ_GET_INFO_BY_FD, _Info(bpf_fd=fd, info_len=ctypes.sizeof(info), info=ctypes.addressof(info)))
    return Program(info.type, info.name.decode(errors="replace"))


def programs() -> Iterator[Program]:
    """Yield every program of the machine; raises OSError (EPERM) without CAP_SYS_ADMIN."""
    for number in _each(PROG_GET_NEXT_ID):
        with suppress(FileNotFoundError):
            yield program(number)


def tcx_chain(ifindex: int, attach_kind: int) -> list[int]:
    """Return the ids of the programs in one side's tcx chain, in order.

    Raises OSError: EPERM without CAP_NET_ADMIN, EINVAL where the kernel has no tcx, ENODEV where the interface is gone.
    """
    return _tcx(ifindex, attach_kind)[0]


def tcx_links(ifindex: int, attach_kind: int) -> list[int]:
    """Return the links (ids) on one side of an interface of this thread's network namespace; none where it is gone.

    Raises OSError: EINVAL where the kernel has no tcx.
    """
    try:
        return [link for link in _tcx(ifindex, attach_kind)[1] if link]
    except OSError as error:
        if error.errno == errno.ENODEV:
            return []
        raise


def _tcx(ifindex: int, attach_kind: int) -> tuple[list[int], list[int]]:
    """Return the ids of programs, and of the links that attach them (0: none)."""
    programs, links = ((u32 * MOST_IN_A_CHAIN)() for _ in range(2))
    query = _Query(
        target_ifindex=ifindex,
        attach_type=attach_kind,
        prog_ids=ctypes.addressof(programs),
        count=MOST_IN_A_CHAIN,
        link_ids=ctypes.addressof(links),
    )
    try:
        call(PROG_QUERY, query)
    except FileNotFoundError:  # nothing was ever attached
        return [], []
    return list(programs[: query.count]), list(links[: query.count])


@contextmanager
def module_types(module: str) -> Iterator[int]:
    """Yield the BTF of a module as a descriptor; raises OSError: EPERM without CAP_SYS_ADMIN, ENOENT without one."""
    for number in _each(BTF_GET_NEXT_ID):
        with owned(call(BTF_GET_FD_BY_ID, _Id(id=number))) as fd:
            name = ctypes.create_string_buffer(64)
            info = _TypesInfo(name=ctypes.addressof(name), name_len=len(name))
            call(OBJ_GET_INFO_BY_FD, _Info(bpf_fd=fd, info_len=ctypes.sizeof(info), info=ctypes.addressof(info)))
            if info.kernel_btf and name.value == module.encode():
                yield fd
                return
    raise FileNotFoundError(errno.ENOENT, f"no module {module} with BTF is loaded")
