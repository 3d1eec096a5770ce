"""Load and attach with some privileges only. In a fork: under emulation a new interpreter takes ten seconds."""

import ctypes
import json
import logging
import os
import resource
import struct
import sys
import traceback
from collections.abc import Iterable
from typing import NamedTuple

from natlens.config import Options
from natlens.errors import NatlensError
from natlens.health import Health
from natlens.kernel.capture import Capture

__all__ = ["NUMBERS", "Said", "attach", "file_capabilities", "load"]

NUMBERS = {"net_admin": 12, "sys_admin": 21, "sys_resource": 24, "perfmon": 38, "bpf": 39}
LAST = 40  # CAP_CHECKPOINT_RESTORE
PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 8, 24, 38, 47
VERSION_3 = 0x20080522
FILE_VERSION_2_EFFECTIVE = 0x02000001

_libc = ctypes.CDLL(None, use_errno=True)


class Said(NamedTuple):
    """How it ended ("attached", or the one line of an error), and the lines of the log."""

    end: str
    lines: list[str]


def load(capabilities: Iterable[str], *, uid: int = 0, memlock: int | None = None) -> Said:
    """Load and attach with these capabilities alone, no_new_privs set, as a container runtime does."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            _become([NUMBERS[name] for name in capabilities], uid, memlock)
            os.write(writing, json.dumps(attach()).encode())
        except BaseException:  # a fork must never return
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        told = file.read()
    os.waitpid(child, 0)
    assert told, "it fell over: see above"
    return Said(*json.loads(told))


def attach() -> Said:
    """Load, attach, let go."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        capture = Capture(Options(), Health())
        capture.refresh()
        capture.close()
    except NatlensError as error:
        return Said(f"{type(error).__name__}: {error}", lines)
    return Said("attached", lines)


def file_capabilities(names: Iterable[str]) -> bytes:
    """Return what `setcap NAMES=ep` writes (``struct vfs_cap_data``)."""
    low, high = _words([NUMBERS[name] for name in names])
    return struct.pack("<5I", FILE_VERSION_2_EFFECTIVE, low, 0, high, 0)


def _become(numbers: list[int], uid: int, memlock: int | None) -> None:
    if memlock is not None:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (memlock, memlock))
    for number in set(range(LAST + 1)) - set(numbers):
        _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)  # one that this kernel does not know: an error, no harm
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if uid:
        _check(_libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    words = _words(numbers)
    header = struct.pack("=Ii", VERSION_3, 0)
    _check(_libc.capset(header, b"".join(struct.pack("=3I", word, word, word) for word in words)))


def _words(numbers: Iterable[int]) -> tuple[int, int]:
    mask = sum(1 << number for number in numbers)
    return mask & 0xFFFFFFFF, mask >> 32


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    json.dump(attach(), sys.stdout)
