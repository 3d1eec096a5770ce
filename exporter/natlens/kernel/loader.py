"""Where the programs come from: the CO-RE object, or the same sources compiled here by bcc (docs/adr/0016-bcc.md).

CO-RE needs the kernel's BTF. Where there is none that can be used, a child process (:mod:`natlens.kernel.bcc_child`)
compiles the sources against the kernel's headers. The maps are made here either way, by libbpf and from one definition.
"""

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from natlens.errors import KernelError, MissingFeature
from natlens.kernel import libbpf
from natlens.kernel.btf import KernelTypes
from natlens.kernel.libbpf import Object
from natlens.kernel.probe import VMLINUX_BTF

__all__ = ["CHILD", "MAPS", "Compiled", "btf_lacks", "find_bcc", "open_object", "sources"]

log = logging.getLogger(__name__)

MAPS = Path(__file__).with_name("maps.bpf.o")
CHILD = Path(__file__).with_name("bcc_child.py")
MAIN, MAPS_HEADER = "natlens.bpf.c", "maps.h"
VARIABLES = {".data.window": "active_window"}  # map of one global variable → its name
TIMEOUT_S = 300.0
MIB_KIB = 1024

INSTALL = (
    "install your distribution's package (Debian, Ubuntu: python3-bpfcc; Fedora: python3-bcc; "
    "PyPI's package `bcc` is something else)"
)
HEADERS = (
    "no kernel headers for {release}: install linux-headers-{release} (Fedora: kernel-devel), in a container mount the "
    "host's /lib/modules and /usr/src"
)


def sources() -> Path:
    """Return the folder of the C sources: in the wheel beside this package's code, in a checkout at its top."""
    return next(
        (folder for folder in (Path(__file__).parents[1] / "bpf", Path(__file__).parents[3] / "bpf") if folder.is_dir()),
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
        return Object(compiled)
    if wanted == "core":
        if btf.exists():
            return Object(compiled)
        raise MissingFeature(
            f"loader: core: {lack}, which the compiled programs need; use a distribution kernel of 5.10 or later, or "
            "loader: bcc"
        )
    return Compiled(lack)


class Compiled(Object):
    """Maps made by libbpf, programs compiled and loaded by a child process; otherwise like any other object."""

    def __init__(self, why: str = "loader: bcc") -> None:
        """``why`` says what spoke against the CO-RE object."""
        super().__init__(MAPS)
        self._why = why
        self._programs: dict[str, int] = {}
        self.peak_kib = 0
        self.seconds = 0.0
        self.reads_packet = libbpf.has_helper(libbpf.PROBE_READ_KERNEL)
        self.has_clock = libbpf.has_helper(libbpf.KTIME_GET_COARSE_NS)

    def load(self) -> None:
        """Make the maps, then compile and load the programs: some 5 to 10 s.

        Raises MissingFeature where bcc or the kernel's headers are not there, KernelError where bcc or the kernel
        refuses.
        """
        super().load()
        began = time.monotonic()
        try:
            answer = _ask(self._request(), list(self._descriptors().values()))
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
        return f"{self._why}, which the compiled programs need, and bcc cannot compile them here: {error}; or use a kernel with BTF"

    def _descriptors(self) -> dict[str, int]:
        return {name: self.map_fd(name) for name in self.map_names()}

    def _request(self) -> dict[str, Any]:
        names = {
            VARIABLES.get(name, name): f"BCC_{'VALUE' if name in VARIABLES else 'MAP'}({fd})"
            for name, fd in self._descriptors().items()
            if name in VARIABLES or name.isidentifier()
        }
        macros = {"NATLENS_READ_KERNEL": int(self.reads_packet), "NATLENS_COARSE_CLOCK": int(self.has_clock)}
        return {"sources": str(sources()), "main": MAIN, "after": MAPS_HEADER, "macros": macros, "names": names}

    def program_fd(self, name: str) -> int:
        """Return the file descriptor of a program."""
        if name not in self._programs:
            raise KernelError(f"bcc compiled no program {name}: the sources do not belong to this version; reinstall natlens")
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


@dataclass(frozen=True)
class _Answer:
    """What the child said: program → descriptor, or what failed."""

    programs: dict[str, int] = field(default_factory=dict)
    version: str = ""
    peak_kib: int = 0
    failed: str = ""
    why: str = ""
    said: str = ""  # by clang or the verifier


def find_bcc() -> str:
    """Return which bcc would be used, for example `0.26.0 of /usr/bin/python3`; raises MissingFeature."""
    for python in _pythons():
        answer = _run(python, {}, [])
        if not answer.failed:
            return f"{answer.version} of {python[0]}"
        _refuse_stranger(python, answer)
    raise MissingFeature(_nowhere())


def _pythons() -> list[list[str]]:
    """Return the interpreters that may have bcc: the own one, and the distribution's, without what guides the own one."""
    others = dict.fromkeys(path for path in ("/usr/bin/python3", shutil.which("python3")) if path)
    return [[sys.executable], *([path, "-I"] for path in others if path != sys.executable and Path(path).exists())]


def _nowhere() -> str:
    return f"no bcc in {', '.join(python[0] for python in _pythons())}: {INSTALL}"


def _refuse_stranger(python: list[str], answer: _Answer) -> None:
    if answer.failed == "package":
        log.warning("%s of %s is not the BPF compiler collection: passed over; %s", answer.why, python[0], INSTALL)


def _ask(request: dict[str, Any], fds: list[int]) -> _Answer:
    """Let the first Python that has bcc answer; raises MissingFeature or KernelError."""
    for python in _pythons():
        answer = _run(python, request, fds)
        if answer.failed in ("import", "package"):
            _refuse_stranger(python, answer)
            continue
        if answer.failed:
            raise _error(answer)
        return answer
    raise MissingFeature(_nowhere())


def _error(answer: _Answer) -> KernelError:
    lines = [line.strip() for line in answer.said.splitlines() if line.strip()]
    if answer.failed == "load":
        last = [line for line in lines if not line.startswith(("processed ", "HINT"))][-2:]
        return KernelError(f"the kernel refused the BPF programs: {answer.why}{': ' if last else ''}{' | '.join(last)}")
    if any("kernel headers" in line or line.startswith("chdir(") for line in lines):
        return MissingFeature(HEADERS.format(release=os.uname().release))
    first = next((line for line in lines if "error:" in line), lines[-1] if lines else "")
    return KernelError(f"bcc: {answer.why}{': ' if first else ''}{first}")


def _run(python: list[str], request: dict[str, Any], fds: list[int]) -> _Answer:
    """Run the child under one interpreter."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, os.fdopen(os.memfd_create("bcc"), "w+b") as said:
        ours.settimeout(TIMEOUT_S)
        ours.send(json.dumps(request).encode())
        child = subprocess.Popen(
            [*python, str(CHILD), str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            pass_fds=[theirs.fileno(), *fds],
        )
        theirs.close()  # so that its end is seen
        with child:
            try:
                message, received, _, _ = socket.recv_fds(ours, 65536, 64)
            except TimeoutError:
                child.kill()
                message, received = b"", []
        said.seek(0)
        text = said.read().decode(errors="replace")
    if not message:
        return _Answer(failed="compile", why=f"the child of {python[0]} ended with {child.returncode}", said=text)
    answer = json.loads(message)
    programs = dict(zip(answer.pop("programs", []), received, strict=True))
    return _Answer(programs=programs, said=text, **answer)
