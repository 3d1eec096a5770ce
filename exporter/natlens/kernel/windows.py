"""Windows: two sets of maps, one written by the kernel, the other read here.

A swap is one store (`active_window`) followed by an update of an outer map, in which the kernel waits until
every program that may still write to the old set has run to its end. Then nothing writes to it, and reading and
clearing it loses nothing.
"""

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from natlens.kernel import maps
from natlens.kernel.libbpf import Object
from natlens.kernel.structs import COUNTERS, RETIRED_KEY, ROW, ROW_KEY, TRANSLATION, TRANSLATION_KEY, VERDICT

__all__ = ["RETIRED", "ROWS", "TRANSLATIONS", "Window", "Windows", "kernel_bytes", "read_counters", "together"]

ROWS = np.dtype([("key", ROW_KEY), ("value", ROW)])
RETIRED = np.dtype([("key", RETIRED_KEY), ("value", ROW)])
TRANSLATIONS = np.dtype([("key", TRANSLATION_KEY), ("value", TRANSLATION)])


HASH_ENTRY, HASH_BUCKET = 48, 16  # struct htab_elem and struct bucket of the kernel's preallocated hash maps


def kernel_bytes(rows: int, translations: int, *, verdicts: bool = False) -> int:
    """Return the kernel memory that both windows take, whatever they hold; ``verdicts``: with rules or sampling."""
    maps = ((ROWS, rows), (RETIRED, max(rows // 8, 1)), (TRANSLATIONS, translations))
    entries = sum((HASH_ENTRY + entry.itemsize) * size for entry, size in maps)
    buckets = sum(HASH_BUCKET << (size - 1).bit_length() for _, size in maps)
    return 2 * (entries + buckets) + VERDICT.itemsize * rows * verdicts


@dataclass(frozen=True)
class Window:
    """What the kernel saw in one window.

    ``rows`` (dtype :data:`ROWS`) has one entry a generation of a directed tuple, in no order;
    ``translations`` (dtype :data:`TRANSLATIONS`) one a NAT'd conntrack entry that was seen.
    """

    rows: npt.NDArray[np.void]
    translations: npt.NDArray[np.void]
    start_ns: int  # CLOCK_MONOTONIC of the swap before
    end_ns: int  # CLOCK_MONOTONIC of the swap that closed it
    unix_offset_ns: int  # Unix time minus CLOCK_MONOTONIC, at its end
    counters: dict[str, int] = field(default_factory=dict)  # since the programs were loaded
    entries: dict[str, int] = field(default_factory=dict)  # kind of map → how many it held


class Windows:
    """Reads windows of a loaded object."""

    def __init__(self, loaded: Object) -> None:
        self._active = 0
        self._active_fd = loaded.map_fd(".data.window")
        self._outer_fd = loaded.map_fd("rows_windows")
        self._fds = {
            kind: tuple(loaded.map_fd(f"{kind}_{index}") for index in (0, 1))
            for kind in ("rows", "retired", "translations")
        }
        self._counters_fd = loaded.map_fd("counters")
        self._start_ns = time.monotonic_ns()

    def _swap(self) -> int:
        """Let programs write to the other set; returns the index of the one that is quiet now."""
        quiet, self._active = self._active, 1 - self._active
        maps.update(self._active_fd, 0, self._active)
        self.wait()
        return quiet

    def wait(self) -> None:
        """Return when every program that runs now, of whatever agent, has come to its end."""
        maps.update(
            self._outer_fd, self._active, self._fds["rows"][self._active]
        )  # the map that is there: only to wait

    def take(self) -> Window:
        """Close the window and return it."""
        quiet = self._swap()
        end_ns = time.monotonic_ns()
        rows, retired, translations = (
            maps.read_and_delete(self._fds[kind][quiet], entry)
            for kind, entry in (("rows", ROWS), ("retired", RETIRED), ("translations", TRANSLATIONS))
        )
        window = Window(
            rows=together(rows, retired),
            translations=translations,
            start_ns=self._start_ns,
            end_ns=end_ns,
            unix_offset_ns=time.time_ns() - time.monotonic_ns(),
            counters=self.counters(),
            entries={"rows": len(rows), "retired": len(retired), "translations": len(translations)},
        )
        self._start_ns = end_ns
        return window

    def counters(self) -> dict[str, int]:
        """Return every kernel counter, summed over the CPUs, since the programs were loaded."""
        return read_counters(self._counters_fd)


def read_counters(fd: int) -> dict[str, int]:
    """Return what is in a map of counters, summed over the CPUs."""
    values = np.zeros((maps.possible_cpus(), len(COUNTERS)), np.uint64)
    maps.lookup(fd, 0, values)
    return dict(zip(COUNTERS, values.sum(axis=0).tolist(), strict=True))


def together(rows: npt.NDArray[np.void], retired: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Return the rows that stand, and those that a new SYN put aside."""
    if not len(retired):
        return rows
    again = np.empty(len(retired), ROWS)
    again["key"], again["value"] = retired["key"]["row"], retired["value"]
    return np.concatenate([rows, again])
