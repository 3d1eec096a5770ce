"""The C library's heap: windows come and go in tens of MiB, and what they leave behind should not stay (ADR 6)."""

import ctypes

__all__ = ["give_back", "keep_large_arrays_apart"]

M_MMAP_THRESHOLD = -3  # malloc.h
LARGE = 8 << 20

_libc = ctypes.CDLL(None)


def keep_large_arrays_apart() -> None:
    """Give arrays of 8 MiB and more memory of their own, which goes when they go.

    By itself glibc raises that limit to 32 MiB once it has seen such arrays, and their places in the heap stay.
    Does nothing where the C library has no such thing (musl).
    """
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(M_MMAP_THRESHOLD, LARGE)


def give_back() -> None:
    """Return to the system what is free in the heap; does nothing where the C library cannot."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
