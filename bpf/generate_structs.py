"""Write exporter/natlens/kernel/structs.py from the BTF of the compiled object.

Usage: python bpf/generate_structs.py OBJECT > exporter/natlens/kernel/structs.py

`bpf/types.h` is the only place where a struct is typed; its DOC() tags arrive here as BTF decl tags.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

STRUCTS = (
    "tuple",
    "row_key",
    "row",
    "retired_key",
    "translation_key",
    "translation",
    "fragment_key",
    "fragment",
    "rule_ends",
    "address_prefix",
    "port_prefix",
    "controls",
    "verdict",
    "left_out_count",
)
ENUMS = {
    "side": "Side",
    "translation_source": "TranslationSource",
    "conntrack_word": "ConntrackWord",
    "syn": "Syn",
    "cause": "Cause",
}
HEADER = '''"""Structs, enums and counters shared with the kernel.

Generated from the BTF of bpf/natlens.bpf.c by bpf/generate_structs.py (`make structs`): do not edit.
"""

from enum import IntEnum

import numpy as np
'''

Btf = dict[int, dict[str, Any]]


def read_btf(path: str) -> Btf:
    """Return the BTF types of an object file by id (``bpftool -j btf dump``)."""
    out = subprocess.run(["bpftool", "-j", "btf", "dump", "file", path], check=True, capture_output=True)
    return {entry["id"]: entry for entry in json.loads(out.stdout)["types"]}


def docs_of(types: Btf, struct_id: int) -> dict[int, str]:
    """Return member index → text of its DOC() tag."""
    return {
        entry["component_idx"]: entry["name"]
        for entry in types.values()
        if entry["kind"] == "DECL_TAG" and entry["type_id"] == struct_id
    }


def resolve(types: Btf, type_id: int) -> dict[str, Any]:
    """Follow typedefs and qualifiers."""
    entry = types[type_id]
    while entry["kind"] in ("TYPEDEF", "CONST", "VOLATILE"):
        entry = types[entry["type_id"]]
    return entry


def numpy_type(types: Btf, type_id: int) -> str:
    """Return the source text of a field's numpy type."""
    entry = resolve(types, type_id)
    if entry["kind"] == "INT":
        return f"np.uint{entry['nr_bits']}"
    if entry["kind"] == "STRUCT":
        return str(entry["name"]).upper()
    if entry["kind"] == "ARRAY":
        element = resolve(types, entry["type_id"])
        return f"np.uint{element['nr_bits']}, ({entry['nr_elems']},)"
    raise SystemExit(f"bpf/types.h: a field of kind {entry['kind']} has no numpy type; use integers, arrays or structs")


def by_name(types: Btf, kind: str, name: str) -> dict[str, Any]:
    """Return the type of that kind and name."""
    return next(entry for entry in types.values() if entry["kind"] == kind and entry["name"] == name)


def struct_lines(types: Btf, name: str) -> Iterator[str]:
    """Yield the source of one dtype, or of its address for byte arrays of 16."""
    struct = by_name(types, "STRUCT", name)
    docs = docs_of(types, struct["id"])
    yield f"{name.upper()} = np.dtype("
    yield "    ["
    for index, member in enumerate(struct["members"]):
        kind = numpy_type(types, member["type_id"])
        yield f'        ("{member["name"]}", {kind}),  # {docs.get(index, "")}'.rstrip(" #")
    yield "    ]"
    yield ")"
    yield f'"""`struct {name}`, {struct["size"]} bytes."""'
    yield ""


def enum_lines(types: Btf, name: str, class_name: str) -> Iterator[str]:
    """Yield the source of one enum; the common prefix of its names goes."""
    yield ""
    yield f"class {class_name}(IntEnum):"
    yield f'    """`enum {name}`."""'
    yield ""
    for value in by_name(types, "ENUM", name)["values"]:
        yield f"    {value['name'].split('_', 1)[1]} = {value['val']}"
    yield ""


def counter_lines(types: Btf) -> Iterator[str]:
    """Yield the table of kernel counters, in the order of the struct."""
    struct = by_name(types, "STRUCT", "counters")
    docs = docs_of(types, struct["id"])
    yield ""
    yield "COUNTERS = {"
    for index, member in enumerate(struct["members"]):
        yield f'    "{member["name"]}": "{docs[index]}",'
    yield "}"
    yield '"""Name → meaning of every kernel counter, in the order of `struct counters` (64-bit, one block a CPU)."""'


def main(path: str) -> None:
    """Print the module."""
    types = read_btf(path)
    lines = [HEADER]
    for name in STRUCTS:
        lines += struct_lines(types, name)
    for name, class_name in ENUMS.items():
        lines += enum_lines(types, name, class_name)
    lines += counter_lines(types)
    print("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1])
