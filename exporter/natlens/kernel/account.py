"""What the kernel says that maps and programs cost, read from procfs: nothing is kept open for it."""

from collections.abc import Mapping
from pathlib import Path

from natlens.errors import KernelError
from natlens.health import Key
from natlens.kernel.libbpf import Object

__all__ = ["MAPS", "PROGRAMS", "Account"]

MAPS: dict[str, tuple[str, ...]] = {
    "rows": ("rows_0", "rows_1"),
    "retired": ("retired_0", "retired_1"),
    "translations": ("translations_0", "translations_1"),
    "counted_interfaces": ("counted_interfaces",),
    "fragments": ("fragments",),
    "rules": ("rule_addresses", "rule_ports", "rule_kinds"),
    "rule_interfaces": ("rule_interfaces",),
    "verdicts": ("verdicts",),
    "left_out_counts": ("left_out_counts",),
    "counters": ("counters",),
}
"""What is told together → the object's maps. Of windows there are two: one is written, the other read."""

PROGRAMS = ("ingress_l2", "ingress_l3", "egress_l2", "egress_l3", "egress_port")

FDINFO = Path("/proc/self/fdinfo")
STATS = Path("/proc/sys/kernel/bpf_stats_enabled")


class Account:
    """Reads maps' sizes and memory, and programs' run time, of an object that is loaded and stays so."""

    def __init__(self, loaded: Object, fdinfo: Path = FDINFO, stats: Path = STATS) -> None:
        """Raises KernelError where the object lacks one of them."""
        self._fdinfo, self._stats = fdinfo, stats
        self._maps = {kind: [loaded.map_fd(name) for name in names] for kind, names in MAPS.items()}
        self._programs = {name: loaded.program_fd(name) for name in PROGRAMS}

    def __call__(self) -> dict[Key, float]:
        """Return ``map_memory_bytes`` and ``map_capacity`` of each ``map``, ``program_runs`` and ``program_time_ns``.

        Memory is that of all maps of a kind; capacity that of one window. The programs' are there only while
        ``kernel.bpf_stats_enabled`` is 1: the kernel measures nothing otherwise. Raises KernelError.
        """
        found: dict[Key, float] = {}
        for kind, fds in self._maps.items():
            told = [self._read(fd) for fd in fds]
            found[_key("map_memory_bytes", "map", kind)] = sum(one.get("memlock", 0) for one in told)
            found[_key("map_capacity", "map", kind)] = told[0].get("max_entries", 0)
        if self._measured():
            for name, fd in self._programs.items():
                one = self._read(fd)
                found[_key("program_runs", "program", name)] = one.get("run_cnt", 0)
                found[_key("program_time_ns", "program", name)] = one.get("run_time_ns", 0)
        return found

    def _measured(self) -> bool:
        try:
            return self._stats.read_text(encoding="ascii").strip() == "1"
        except OSError:
            return False

    def _read(self, fd: int) -> Mapping[str, int]:
        """Return the numbers of one file of fdinfo (proc(5))."""
        try:
            lines = (self._fdinfo / str(fd)).read_text(encoding="ascii").splitlines()
        except OSError as error:
            raise KernelError(f"account of fd {fd}: {error.strerror}") from error
        pairs = (line.partition(":") for line in lines)
        return {name: int(value) for name, _, value in pairs if value.strip().isdecimal()}


def _key(name: str, attribute: str, value: str) -> Key:
    return name, ((attribute, value),)
