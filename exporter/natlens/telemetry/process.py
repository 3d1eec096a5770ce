"""What the process itself takes, read from procfs."""

import os
import resource
import time
from pathlib import Path

from natlens.health import Key

__all__ = ["read_process"]

PROC = Path("/proc/self")
STARTED = 19
"""Index of ``starttime`` in /proc/self/stat behind the command's name (proc(5), field 22)."""


def read_process(proc: Path = PROC) -> dict[Key, float]:
    """Return processor time (µs), resident memory, threads, descriptors and uptime."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    status = (proc / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    pages = int((proc / "statm").read_text(encoding="ascii").split()[1])
    booted_s = int(status[STARTED]) / os.sysconf("SC_CLK_TCK")
    return {
        ("process_cpu_us", (("mode", "user"),)): round(used.ru_utime * 1e6),
        ("process_cpu_us", (("mode", "system"),)): round(used.ru_stime * 1e6),
        ("process_memory_bytes", ()): pages * os.sysconf("SC_PAGE_SIZE"),
        ("process_threads", ()): int(status[17]),
        ("process_descriptors", ()): sum(1 for _ in (proc / "fd").iterdir()) - 1,  # without the listing's own
        ("process_uptime_s", ()): max(time.clock_gettime(time.CLOCK_BOOTTIME) - booted_s, 0.0),
    }
