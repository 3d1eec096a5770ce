"""What stays in the kernel when its process ends: objects pinned by a name in bpffs.

bpffs holds maps, programs and links, no files; names have no dots. A pin goes with `unlink`, an object with its last
pin and its last descriptor.
"""

import ctypes
import mmap
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from natlens.errors import ConfigError, KernelError
from natlens.kernel.bpf import tcx_links
from natlens.kernel.libbpf import check, library

__all__ = ["LinkPlace", "get", "lacks", "link_place", "pin", "put_octets", "read_octets", "require", "update_link"]

BPF_FS_MAGIC = 0xCAFE4A11
ARRAY, MMAPABLE = 2, 1 << 10
PAGE = 4096
LENGTH = struct.Struct("=Q")
CREATE = struct.Struct("=Q6I Q2I")  # struct bpf_map_create_opts: its size, …, flags, …
STATFS_BYTES = 256

_libc = ctypes.CDLL(None, use_errno=True)


class LinkPlace(NamedTuple):
    """Where a tcx link is attached."""

    ifindex: int  # 0: its interface is gone
    kind: int  # BPF_TCX_INGRESS or BPF_TCX_EGRESS


def lacks(path: Path) -> str:
    """Return why a directory cannot hold pins, there or yet to be made; empty where it can."""
    there = next(one for one in (path, *path.parents) if one.exists())
    buffer = ctypes.create_string_buffer(STATFS_BYTES)
    if _libc.statfs(os.fsencode(there), buffer):
        return os.strerror(ctypes.get_errno())
    if struct.unpack_from("=I", buffer)[0] != BPF_FS_MAGIC:  # the word is a long; the number fits into its low half
        return f"{there} is not in a BPF file system"
    return ""


def require(path: Path) -> None:
    """Make the directory; raises ConfigError where it is not in a bpffs, or may not be made there."""
    if why := lacks(path):
        raise ConfigError(
            f"pin_path is {str(path)!r}: {why}, which pin needs: "
            "mount one (mount -t bpf bpf /sys/fs/bpf; in Kubernetes a hostPath volume of it), or leave pin off"
        )
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"pin_path is {str(path)!r}: cannot be made ({error.strerror}): name a directory that this user may make"
        ) from error


def pin(fd: int, path: Path) -> None:
    """Give an object a name; raises KernelError (EEXIST where that is taken)."""
    check(library().bpf_obj_pin(fd, os.fsencode(path)), f"pin of {path}")


def get(path: Path) -> int:
    """Return a new descriptor of the object that has that name; raises KernelError."""
    return check(library().bpf_obj_get(os.fsencode(path)), f"pinned object {path}")


def link_place(fd: int) -> LinkPlace | None:
    """Return where a tcx link is attached; None where it is not, or not in this thread's network namespace.

    A link goes with its interface into another namespace, where that may keep its number.
    """
    told = dict(
        line.split(":\t", 1) for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines() if ":\t" in line
    )
    if told.get("link_type") != "tcx":
        return None
    place = LinkPlace(int(told["ifindex"]), int(told["attach_type"].split()[0]))
    if not place.ifindex or int(told["link_id"]) not in tcx_links(*place):
        return None
    return place


def update_link(fd: int, program_fd: int) -> None:
    """Let a link run another program: every packet meets either the old one or the new one. Raises KernelError."""
    check(library().bpf_link_update(fd, program_fd, None), f"update of link fd {fd}")


def put_octets(parts: Iterable[bytes | memoryview], path: Path) -> None:
    """Keep octets under a name: whole, in place of what was there, whenever this process is killed.

    bpffs has no files: an array map of pages that can be mapped (since v5.5, commit fc9702273e2e).
    """
    chunks = list(parts)
    length = sum(len(chunk) for chunk in chunks)
    pages = -(-(LENGTH.size + length) // PAGE)
    options = CREATE.pack(CREATE.size, 0, 0, 0, 0, 0, MMAPABLE, 0, 0, 0)
    fd = check(library().bpf_map_create(ARRAY, b"natlens_state", 4, PAGE, pages, options), "map for the state")
    fresh = path.with_name(path.name + "_new")
    try:
        with mmap.mmap(fd, pages * PAGE) as memory:
            memory.write(LENGTH.pack(length))
            for chunk in chunks:
                memory.write(chunk)
        fresh.unlink(missing_ok=True)
        pin(fd, fresh)
        fresh.rename(path)
    finally:
        os.close(fd)


def read_octets(path: Path) -> bytes | None:
    """Return what :func:`put_octets` kept; None where there is nothing."""
    try:
        fd = get(path)
    except KernelError:
        return None
    try:
        told = Path(f"/proc/self/fdinfo/{fd}").read_text().split()
        pages = int(told[told.index("max_entries:") + 1])
        with mmap.mmap(fd, pages * PAGE, prot=mmap.PROT_READ) as memory:
            (length,) = LENGTH.unpack_from(memory)
            return memory[LENGTH.size : LENGTH.size + length]
    finally:
        os.close(fd)
