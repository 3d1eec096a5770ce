"""What is in the kernel: attached to a namespace's interfaces, held by a process, put there by somebody else."""

import ctypes
import errno
import os
import platform
import re
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from natlens.kernel import libbpf
from natlens.kernel.netlink import route_socket
from natlens.ui.lab.namespaces import Namespace

__all__ = ["Held", "attached", "devices", "held", "left", "other_agents", "program", "tcx_behind"]

PROG_LOAD, PROG_QUERY, LINK_CREATE = 5, 16, 28
BPF_F_AFTER = 1 << 4  # without a relative: at the tail
SCHED_CLS = 3
FD_BY_ID = {"prog": 13, "map": 14, "link": 30}
SIDES = {"ingress": libbpf.BPF_TCX_INGRESS, "egress": libbpf.BPF_TCX_EGRESS}
PARENTS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
RETURN_NEXT = bytes.fromhex("b7000000ffffffff 9500000000000000")  # r0 = -1; exit
U32_FILTER = "protocol ip pref 7 u32 match ip dport 9 0xffff flowid 1:1"

_libc = ctypes.CDLL(None, use_errno=True)


class Held(NamedTuple):
    """One kernel object."""

    kind: str
    number: int


def _bpf(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    fd: int = _libc.syscall(libbpf.SYS_BPF[platform.machine()], command, attributes, len(attributes))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return fd


def _attributes(layout: str, *values: int) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(struct.pack(layout, *values), 128)


def held(pid: int) -> set[Held]:
    """Return the programs, maps and links that a process holds."""
    told = "\n".join(one.read_text() for one in Path("/proc", str(pid), "fdinfo").iterdir())
    return {
        Held(kind, int(number)) for kind, number in re.findall(r"^(prog|map|link)_id:\s*(\d+)$", told, re.MULTILINE)
    }


def left(objects: set[Held]) -> set[Held]:
    """Return those that the kernel still has."""
    return {one for one in objects if _is_there(one)}


def _is_there(one: Held) -> bool:
    try:
        os.close(_bpf(FD_BY_ID[one.kind], _attributes("<I", one.number)))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return False
    return True


def devices(namespace: Namespace) -> dict[str, int]:
    """Return name → ifindex."""
    lines = namespace.run("ip", "-o", "link").splitlines()
    return {name: int(index) for index, name in (re.findall(r"^(\d+): ([^@:]+)", line)[0] for line in lines)}


def _tcx(index: int, side: str) -> list[int]:
    found = (ctypes.c_uint32 * 16)()
    query = _attributes("<IIIIQI", index, SIDES[side], 0, 0, ctypes.addressof(found), len(found))
    try:
        _bpf(PROG_QUERY, query)
    except OSError as error:
        if error.errno == errno.EINVAL:  # a kernel without tcx
            return []
        raise
    (count,) = struct.unpack_from("<I", query.raw, 24)
    return list(found[:count])


def attached(namespace: Namespace) -> dict[str, list[str]]:
    """Return what stands on each side of each interface, in order: ``tcx ID`` and ``tc`` filters."""
    found: dict[str, list[str]] = {}
    for name, index in devices(namespace).items():
        for side in SIDES:
            with namespace.enter():
                programs = [f"tcx {number}" for number in _tcx(index, side)]
            filters = namespace.run("tc", "filter", "show", "dev", name, side).splitlines()
            found[f"{name} {side}"] = programs + [f"tc {line.strip()}" for line in filters if " handle " in f"{line} "]
    return {place: what for place, what in found.items() if what}


@contextmanager
def program() -> Iterator[int]:
    """Load a program that does nothing; yields its descriptor."""
    code, license_ = ctypes.create_string_buffer(RETURN_NEXT), ctypes.create_string_buffer(b"GPL")
    addresses = ctypes.addressof(code), ctypes.addressof(license_)
    fd = _bpf(PROG_LOAD, _attributes("<IIQQ", SCHED_CLS, len(RETURN_NEXT) // 8, *addresses))
    try:
        yield fd
    finally:
        os.close(fd)


def tcx_behind(program_fd: int, index: int, side: str) -> int:
    """Attach at the tail of an interface's tcx chain, in this thread's namespace; returns the link."""
    return _bpf(LINK_CREATE, _attributes("<IIII", program_fd, index, SIDES[side], BPF_F_AFTER))


@contextmanager
def other_agents(namespace: Namespace) -> Iterator[dict[str, list[str]]]:
    """Put another agent's tcx links, bpf filters (priority 1, as ours) and u32 filters on every interface.

    Yields what :func:`attached` then says.
    """
    with ExitStack() as stack:
        fd = stack.enter_context(program())
        with namespace.enter():
            route = stack.enter_context(route_socket())
        for name, index in devices(namespace).items():
            namespace.run("tc", "qdisc", "replace", "dev", name, "clsact")
            stack.callback(namespace.run, "tc", "qdisc", "del", "dev", name, "clsact")
            for side, kind in SIDES.items():
                with namespace.enter():
                    stack.callback(os.close, libbpf.link_tcx(fd, index, kind))
                route.tc("add-filter", "bpf", index, 1, fd=fd, name="other", parent=PARENTS[side], prio=1)
                namespace.run("tc", "filter", "add", "dev", name, side, *U32_FILTER.split())
        yield attached(namespace)
