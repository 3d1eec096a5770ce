"""Locked memory: before v5.11 (commit d5299b67dd59 and its series) BPF maps count against RLIMIT_MEMLOCK."""

import resource

from natlens.errors import MissingFeature
from natlens.kernel.probe import Features

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
    if limit == UNLIMITED or not _counts():
        return ""
    return (
        f"RLIMIT_MEMLOCK is {limit >> 10} KiB, and this kernel counts BPF maps as locked memory (5.11 does not): give "
        "CAP_SYS_RESOURCE, with which natlens raises it, or LimitMEMLOCK=infinity or `prlimit --memlock=unlimited`"
    )


def _counts() -> bool:
    """Tell whether this kernel counts maps: its BTF says so, for no program can be loaded to ask."""
    try:
        return not Features.probe().clock  # came with the same release
    except MissingFeature:
        return False
