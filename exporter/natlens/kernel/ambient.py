"""Capabilities for a child: one of a process that is not root has none, unless they are ambient ones."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from natlens.kernel.probe import WHAT_FOR

__all__ = ["passed_on"]

VERSION_3 = 0x20080522  # include/uapi/linux/capability.h
PR_CAP_AMBIENT, RAISE, LOWER = 47, 2, 3

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    """``struct __user_cap_header_struct``."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    """``struct __user_cap_data_struct``: 32 capabilities."""

    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextmanager
def passed_on() -> Iterator[None]:
    """Let what this thread starts meanwhile have the capabilities that natlens needs, as far as it has them itself.

    Nothing is raised where the kernel refuses (a sandbox may): the child then says itself what it lacks.
    """
    header, sets = _Header(VERSION_3, 0), (_Data * 2)()
    if _libc.capget(ctypes.byref(header), sets):
        yield
        return
    before = [one.inheritable for one in sets]
    for number in WHAT_FOR:
        half = sets[number // 32]
        half.inheritable |= half.permitted & 1 << number % 32
    _libc.capset(ctypes.byref(header), sets)
    raised = [number for number in WHAT_FOR if not _libc.prctl(PR_CAP_AMBIENT, RAISE, number, 0, 0)]
    try:
        yield
    finally:
        for number in raised:
            _libc.prctl(PR_CAP_AMBIENT, LOWER, number, 0, 0)
        for one, inheritable in zip(sets, before, strict=True):
            one.inheritable = inheritable
        _libc.capset(ctypes.byref(header), sets)
