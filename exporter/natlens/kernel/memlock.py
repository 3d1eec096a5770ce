"""Locked memory: before v5.11 (commit d5299b67dd59 and its series) BPF maps count against RLIMIT_MEMLOCK."""

import resource

from natlens.kernel.libbpf import KTIME_GET_COARSE_NS, has_helper

__all__ = ["lacking", "raise_limit"]

MEMLOCK = resource.RLIMIT_MEMLOCK
UNLIMITED = resource.RLIM_INFINITY


def raise_limit() -> None:
    """Allow this process as much as it may: all with CAP_SYS_RESOURCE, else its hard limit."""
    _, hard = resource.getrlimit(MEMLOCK)
    for most in (UNLIMITED, hard):
        try:
            resource.setrlimit(MEMLOCK, (most, most))
        except (ValueError, OSError):
            continue
        return


def lacking() -> str:
    """Return what to say of the limit where it may be why the kernel refused; empty where it cannot be."""
    limit = resource.getrlimit(MEMLOCK)[0]
    if limit == UNLIMITED or has_helper(KTIME_GET_COARSE_NS):  # that helper came with the same release
        return ""
    return (
        f"RLIMIT_MEMLOCK is {limit >> 10} KiB, and this kernel counts BPF maps as locked memory (5.11 does not): give "
        "CAP_SYS_RESOURCE, with which natlens raises it, or LimitMEMLOCK=infinity or `prlimit --memlock=unlimited`"
    )
