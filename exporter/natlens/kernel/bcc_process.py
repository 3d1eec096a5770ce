"""The process that compiles with bcc: found, started, asked, its errors put into one line each.

It is :mod:`natlens.kernel.bcc_child`, under the first Python that has bcc: a container's own, or the distribution's,
which has packages that this one's environment does not see.
"""

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from natlens.errors import KernelError, MissingFeature
from natlens.kernel.ambient import passed_on

__all__ = ["Answer", "ask", "find_bcc"]

log = logging.getLogger(__name__)

CHILD = Path(__file__).with_name("bcc_child.py")
TIMEOUT_S = 900.0  # a small node under load takes a minute
MOST_BYTES, MOST_PROGRAMS = 65536, 64  # of one message
INSTALL = (
    "install your distribution's package (Debian, Ubuntu: python3-bpfcc; Fedora: python3-bcc; "
    "PyPI's package `bcc` is something else)"
)
HEADERS = (
    "no kernel headers for {release}: install linux-headers-{release} (Fedora: kernel-devel), in a container mount the "
    "host's /lib/modules and /usr/src"
)


@dataclass(frozen=True)
class Answer:
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
    """Return the interpreters that may have bcc: the own one, and the distribution's without the own one's settings."""
    others = dict.fromkeys(path for path in ("/usr/bin/python3", shutil.which("python3")) if path)
    return [[sys.executable], *([path, "-I"] for path in others if path != sys.executable and Path(path).exists())]


def _nowhere() -> str:
    return f"no bcc in {', '.join(python[0] for python in _pythons())}: {INSTALL}"


def _refuse_stranger(python: list[str], answer: Answer) -> None:
    if answer.failed == "package":
        log.warning("%s of %s is not the BPF compiler collection: passed over; %s", answer.why, python[0], INSTALL)


def ask(request: dict[str, Any], fds: list[int]) -> Answer:
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


def _error(answer: Answer) -> KernelError:
    lines = [line.strip() for line in answer.said.splitlines() if line.strip()]
    if answer.failed == "load":
        last = [line for line in lines if not line.startswith(("processed ", "HINT"))][-2:]
        return KernelError(f"the kernel refused the BPF programs: {answer.why}{': ' if last else ''}{' | '.join(last)}")
    if any("kernel headers" in line or line.startswith("chdir(") for line in lines):
        return MissingFeature(HEADERS.format(release=os.uname().release))
    first = next((line for line in lines if "error:" in line), lines[-1] if lines else "")
    return KernelError(f"bcc: {answer.why}{': ' if first else ''}{first}")


def _run(python: list[str], request: dict[str, Any], fds: list[int]) -> Answer:
    """Run the child under one interpreter."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, os.fdopen(os.memfd_create("bcc"), "w+b") as said:
        ours.settimeout(TIMEOUT_S)
        ours.send(json.dumps(request).encode())
        with passed_on():
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
                message, received = _receive(ours)
            except OSError:  # late, or dead before it read the request
                child.kill()
                message, received = b"", []
        said.seek(0)
        text = said.read().decode(errors="replace")
    if not message:
        return Answer(failed="compile", why=f"the child of {python[0]} ended with {child.returncode}", said=text)
    answer = json.loads(message)
    programs = dict(zip(answer.pop("programs", []), received, strict=True))
    return Answer(programs=programs, said=text, **answer)


def _receive(ours: socket.socket) -> tuple[bytes, list[int]]:
    """Return one message and its descriptors, closed on exec (``socket.recv_fds`` does not pass flags on)."""
    space = socket.CMSG_SPACE(MOST_PROGRAMS * array("i").itemsize)
    message, ancillary, _, _ = ours.recvmsg(MOST_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    fds = array("i")
    for _, _, data in ancillary:
        fds.frombytes(data)
    return message, fds.tolist()
