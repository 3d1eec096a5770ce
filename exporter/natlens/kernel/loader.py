"""Where the programs come from: the CO-RE object, or the same sources compiled here by bcc (docs/adr/0016-bcc.md).

CO-RE needs the kernel's BTF. Where there is none that can be used, a child process (:mod:`natlens.kernel.bcc_child`)
compiles the sources against the kernel's headers. The maps are made here either way, by libbpf and from one definition.
"""

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from natlens.errors import KernelError, MissingFeature
from natlens.kernel import libbpf
from natlens.kernel.btf import KernelTypes
from natlens.kernel.libbpf import Object
from natlens.kernel.module_types import conntrack_types
from natlens.kernel.probe import VMLINUX_BTF, reads_memory

__all__ = ["MAPS", "Compiled", "btf_lacks", "open_object", "sources"]

log = logging.getLogger(__name__)

MAPS = Path(__file__).with_name("maps.bpf.o")
MAIN, MAPS_HEADER = "natlens.bpf.c", "maps.h"
VARIABLES = {
    ".data.window": ("active_window", "volatile __u32"),
    ".data.zones": ("zones_in_use", "volatile __u32"),
    ".rodata.learn": ("packets_tell", "const volatile __u8"),
    ".rodata.kernel_functions": ("has", "const volatile struct kernel_functions"),
    ".rodata.controls": ("capture_controls", "const volatile struct controls"),
}
"""Section of one global variable → its name and type. A new one is declared in maps.h, in a section of its own."""
MIB_KIB = 1024


def sources() -> Path:
    """Return the folder of the C sources: in the wheel beside this package's code, in a checkout at its top."""
    return next(
        (
            folder
            for folder in (Path(__file__).parents[1] / "bpf", Path(__file__).parents[3] / "bpf")
            if folder.is_dir()
        ),
        Path(__file__).parents[1] / "bpf",
    )


def btf_lacks(btf: Path = VMLINUX_BTF) -> str:
    """Return why CO-RE cannot use this kernel's BTF; empty where it can."""
    if not btf.exists():
        return f"{btf} is not there: this kernel carries no BTF (CONFIG_DEBUG_INFO_BTF)"
    with KernelTypes() as types:
        if types.has_struct("nf_conn") or types.module_has_struct("nf_conntrack", "nf_conn"):
            return ""
    return "this kernel's BTF has no conntrack entry (struct nf_conn; CONFIG_DEBUG_INFO_BTF_MODULES)"


def open_object(wanted: str, compiled: Path, btf: Path = VMLINUX_BTF) -> Object:
    """Return what is to be loaded, for option ``loader``: `auto` takes the CO-RE object where it can be used.

    Raises MissingFeature where `core` is asked for and there is no BTF.
    """
    if wanted == "bcc":
        return Compiled()
    lack = btf_lacks(btf)
    if not lack:
        return Object(compiled, conntrack_types())
    if wanted == "core":
        if btf.exists():
            return Object(compiled)
        raise MissingFeature(
            f"loader: core: {lack}, which the compiled programs need; use a distribution kernel of 5.10 or later, or "
            "loader: bcc"
        )
    return Compiled(lack, can_do_without=btf.exists())


class Compiled(Object):
    """Maps made by libbpf, programs compiled and loaded by a child process; otherwise like any other object."""

    def __init__(self, why: str = "loader: bcc", *, can_do_without: bool = False) -> None:
        """``why`` says what spoke against the CO-RE object, ``can_do_without`` whether it may still be loaded."""
        super().__init__(MAPS)
        self._why = why
        self.can_do_without = can_do_without
        self._programs: dict[str, int] = {}
        self.peak_kib = 0
        self.seconds = 0.0
        self.reads_packet = reads_memory()
        self.has_clock = libbpf.has_helper(libbpf.KTIME_GET_COARSE_NS)

    def load(self) -> None:
        """Make the maps, then compile and load the programs: some 5 to 10 s.

        Raises MissingFeature where bcc or the kernel's headers are not there, KernelError where bcc or the kernel
        refuses.
        """
        from natlens.kernel.bcc_process import ask  # subprocess

        super().load()
        began = time.monotonic()
        try:
            answer = ask(self._request(), list(self._descriptors().values()))
        except KernelError as error:
            raise type(error)(self._told(str(error))) from error
        self._programs, self.peak_kib = answer.programs, answer.peak_kib
        self.seconds = time.monotonic() - began
        log.info(
            "%s: bcc %s compiled the programs in %.1f s; the child, at most %d MiB, is gone",
            self._why,
            answer.version,
            self.seconds,
            self.peak_kib // MIB_KIB,
        )

    def _told(self, error: str) -> str:
        if self._why.startswith("loader:"):
            return f"loader: bcc: {error}"
        return (
            f"{self._why}, which the compiled programs need, and bcc cannot compile them here: {error}; or use a "
            "kernel with BTF"
        )

    def _descriptors(self) -> dict[str, int]:
        return {name: self.map_fd(name) for name in self.map_names()}

    def _request(self) -> dict[str, Any]:
        names = {}
        for name, fd in self._descriptors().items():
            if name in VARIABLES:
                variable, kind = VARIABLES[name]
                names[variable] = f"BCC_VALUE({kind}, {fd})"
            elif name.isidentifier():
                names[name] = f"BCC_MAP({fd})"
        macros = {"NATLENS_COARSE_CLOCK": int(self.has_clock)}
        return {"sources": str(sources()), "main": MAIN, "after": MAPS_HEADER, "macros": macros, "names": names}

    def program_fd(self, name: str) -> int:
        """Return the file descriptor of a program."""
        if name not in self._programs:
            raise KernelError(
                f"bcc compiled no program {name}: the sources do not belong to this version; reinstall natlens"
            )
        return self._programs[name]

    def close(self) -> None:
        """Close every file descriptor: maps and programs that nothing else holds go away."""
        while self._programs:
            os.close(self._programs.popitem()[1])
        super().close()

    def losses(self) -> Iterator[str]:
        """Yield what this way of loading does not do, a line each."""
        if not self.reads_packet:
            yield (
                "NAT is not learned from packets: this kernel lets no program read its memory (lockdown: "
                "confidentiality); only connections that ctnetlink tells of are translated"
            )
        yield (
            "conntrack is not asked as packets come in: programs compiled by bcc have no bpf_skb_ct_lookup (it takes "
            "BTF); what never leaves by a covered interface is translated where ctnetlink tells of it"
        )
        if not self.has_clock:
            yield (
                "every packet reads the precise clock, which costs some 30 ns: this kernel has no "
                "bpf_ktime_get_coarse_ns (5.11 has it)"
            )
