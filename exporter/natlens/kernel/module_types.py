"""The conntrack entry's type where only the module's BTF has it, for a process without CAP_SYS_ADMIN.

libbpf asks bpf(2) for the BTF of modules, which takes CAP_SYS_ADMIN; the same BTF is a file that all may read. It is
split: it goes on where the kernel's own ends, and libbpf takes one file, whole. So both are put into one.
"""

import os
import struct

from natlens.kernel.btf import KernelTypes, types_of

__all__ = ["conntrack_types", "whole"]

HEADER = struct.Struct("=HBBIIIII")  # struct btf_header: magic, version, flags, its length, types, strings
MODULE, ENTRY = "nf_conntrack", "nf_conn"


def conntrack_types() -> int | None:
    """Return a descriptor of BTF with the kernel's types and the module's; None where the kernel's own suffices.

    Raises MissingFeature where the kernel's BTF cannot be read. The descriptor is the caller's.
    """
    with KernelTypes() as types:
        if types.has_struct(ENTRY) or not types.module_has_struct(MODULE, ENTRY):
            return None
    fd = os.memfd_create("conntrack-types")
    with open(fd, "wb", closefd=False) as file:
        file.write(whole(types_of("vmlinux").read_bytes(), types_of(MODULE).read_bytes()))
    return fd


def whole(base: bytes, split: bytes) -> bytes:
    """Return BTF that stands alone, of BTF and what is split from it.

    The split one's type ids and string offsets go on where the base's end (btf_new_empty() of libbpf, v5.11's commit
    951bb64621b8), so its types follow the base's, and its strings the base's.
    """
    magic, version, flags, *_ = HEADER.unpack_from(base)
    (types, strings), (more_types, more_strings) = _sections(base), _sections(split)
    types, strings = types + more_types, strings + more_strings
    head = HEADER.pack(magic, version, flags, HEADER.size, 0, len(types), len(types), len(strings))
    return head + types + strings


def _sections(btf: bytes) -> tuple[bytes, bytes]:
    *_, begin, types_at, types, strings_at, strings = HEADER.unpack_from(btf)
    return tuple(btf[begin + at : begin + at + size] for at, size in ((types_at, types), (strings_at, strings)))  # type: ignore[return-value]
