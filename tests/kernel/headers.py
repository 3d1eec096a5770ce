"""Kernel headers for bcc made from the running kernel's BTF: the types that natlens reads, for want of the real ones.

Compiling takes half the time that it takes with real ones, and each field is where the running kernel has it.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["VMLINUX", "write_headers"]

VMLINUX = Path("/sys/kernel/btf/vmlinux")

FIELDS = {  # struct → field → how it is declared; the order is that of the declarations
    "net_device": {"nd_net": "possible_net_t nd_net"},
    "skb_shared_info": {"gso_type": "unsigned int gso_type"},
    "sk_buff": {
        "dev": "struct net_device *dev",
        "_nfct": "unsigned long _nfct",
        "head": "unsigned char *head",
        "end": "unsigned int end",
        "mac_len": "__u16 mac_len",
        "inner_transport_header": "__u16 inner_transport_header",
        "inner_network_header": "__u16 inner_network_header",
        "network_header": "__u16 network_header",
    },
    "nf_conntrack_zone": {"id": "__u16 id"},
    "nf_conntrack_tuple_hash": {"tuple": "struct nf_conntrack_tuple tuple"},
    "nf_conn": {
        "zone": "struct nf_conntrack_zone zone",
        "tuplehash": "struct nf_conntrack_tuple_hash tuplehash[2]",
        "status": "unsigned long status",
        "ct_net": "possible_net_t ct_net",
    },
}
ENUMERATORS = "SKB_GSO_GRE", "IP_CT_NEW", "IPS_ASSURED"  # of the enums that are copied
PRELUDE = """
typedef struct { struct net *net; } possible_net_t;
struct nf_conntrack_tuple { char bytes[40]; };
#define NFCT_INFOMASK 7UL
#define NET_SKBUFF_DATA_USES_OFFSET 1
#define CONFIG_NF_CONNTRACK_ZONES 1
"""
TYPES = """
#include <uapi/linux/types.h>
#define NULL ((void *)0)
#define true 1
#define false 0
typedef _Bool bool;
typedef __u8 u8; typedef __u16 u16; typedef __u32 u32; typedef __u64 u64;
typedef __s8 s8; typedef __s16 s16; typedef __s32 s32; typedef __s64 s64;
typedef unsigned long uintptr_t, size_t;
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
"""
EMPTY = "include/linux/log2.h", "include/linux/netdevice.h"


class _Btf:
    def __init__(self, path: Path) -> None:
        dump = subprocess.run(["bpftool", "-j", "btf", "dump", "file", path], check=True, capture_output=True).stdout
        entries: list[dict[str, Any]] = json.loads(dump)["types"]
        self._types = {entry["id"]: entry for entry in entries}
        self._structs = {entry["name"]: entry for entry in reversed(entries) if entry["kind"] == "STRUCT"}
        self.enums = [entry for entry in entries if entry["kind"].startswith("ENUM")]

    def members(self, struct: dict[str, Any], at: int = 0) -> Iterator[tuple[str, int]]:
        """Yield each field and its offset in bytes, those of nameless members included."""
        for member in struct["members"]:
            offset, inner = at + member["bits_offset"] // 8, self._types[member["type_id"]]
            yield member["name"], offset
            if member["name"] == "(anon)":
                yield from self.members(inner, offset)

    def declare(self, name: str, fields: dict[str, str]) -> str:
        """Return a C struct of the real size with these fields at their real places."""
        struct = self._structs[name]
        offsets = dict(self.members(struct))
        parts = [
            f"struct {{ char _{field}[{offsets[field]}]; {declaration}; }} __attribute__((packed));"
            for field, declaration in fields.items()
        ]
        return f"struct {name} {{ union {{ char _size[{struct['size']}]; {' '.join(parts)} }}; }};"


def _types(btf: _Btf) -> Iterator[str]:
    yield PRELUDE
    for enum in btf.enums:
        values = {one["name"]: one["val"] for one in enum["values"] or []}
        if values.keys() & set(ENUMERATORS):
            yield f"enum {{ {', '.join(f'{name} = {value}' for name, value in values.items())} }};"
    for name, fields in FIELDS.items():
        yield btf.declare(name, fields)


def write_headers(tree: Path, vmlinux: Path = VMLINUX) -> Path:
    """Write a tree that bcc takes for a kernel's build folder (``BCC_KERNEL_SOURCE``); returns it."""
    (tree / "include/uapi").mkdir(parents=True)
    (tree / "include/uapi/linux").symlink_to("/usr/include/linux")
    for folder in ("asm", "asm-generic"):
        multiarch = subprocess.run(
            ["cc", "-print-multiarch"], capture_output=True, text=True, check=True
        ).stdout.strip()
        there = Path("/usr/include", multiarch, folder)
        (tree / f"include/uapi/{folder}").symlink_to(there if there.is_dir() else Path("/usr/include", folder))
    files = {
        "include/linux/kconfig.h": "#define CONFIG_BPF_SYSCALL 1\n#define __LINUX_BPF_H__ /* bcc's own instead */\n",
        "include/linux/types.h": TYPES,
        "include/linux/version.h": "#include <uapi/linux/version.h>\n",
        "include/asm/page.h": "#define PAGE_SIZE 4096\n",
        "include/net/netfilter/nf_conntrack.h": "\n".join(_types(_Btf(vmlinux))),
        **dict.fromkeys(EMPTY, ""),
    }
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    return tree
