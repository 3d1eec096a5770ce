"""Maps of the kernel, read and written by file descriptor."""

import ctypes
import errno
from typing import Any

import numpy as np
import numpy.typing as npt

from natlens.kernel.libbpf import check, library

__all__ = ["delete", "lookup", "possible_cpus", "put", "read_and_delete", "update"]


def lookup(fd: int, key: int, out: npt.NDArray[Any]) -> None:
    """Read the value at a 32-bit ``key`` into ``out`` (the value's size; for a per-CPU map: times the CPUs)."""
    check(
        library().bpf_map_lookup_elem(fd, ctypes.byref(ctypes.c_uint32(key)), out.ctypes.data), f"read of map fd {fd}"
    )


def update(fd: int, key: int, value: int, *, size: int = 4) -> None:
    """Store an integer ``value`` of ``size`` bytes (1 or 4) at a 32-bit ``key``."""
    stored = (ctypes.c_uint8 if size == 1 else ctypes.c_uint32)(value)
    check(
        library().bpf_map_update_elem(fd, ctypes.byref(ctypes.c_uint32(key)), ctypes.byref(stored), 0),
        f"update of map fd {fd}",
    )


def put(fd: int, key: bytes, value: bytes) -> None:
    """Store ``value`` at ``key``, both of the map's own sizes."""
    check(library().bpf_map_update_elem(fd, key, value, 0), f"update of map fd {fd}")


def delete(fd: int, key: int) -> None:
    """Delete a 32-bit ``key``; one that is not there is fine."""
    result = library().bpf_map_delete_elem(fd, ctypes.byref(ctypes.c_uint32(key)))
    if result != -errno.ENOENT:
        check(result, f"delete in map fd {fd}")


def read_and_delete(fd: int, entry: np.dtype[Any], batch: int = 16384) -> npt.NDArray[np.void]:
    """Empty a hash map that nothing writes to; returns its entries.

    ``entry`` has two fields, ``key`` and ``value``, of the map's own layout; the result has shape
    (n,) and that dtype. On a live map this would lose counts (seen: 43 to 61 ppm).
    """
    keys = np.empty((batch, entry["key"].itemsize), np.uint8)
    values = np.empty((batch, entry["value"].itemsize), np.uint8)
    position = ctypes.create_string_buffer(8)
    parts: list[npt.NDArray[np.uint8]] = []
    first, result = True, 0
    while result == 0:
        count = ctypes.c_uint32(batch)
        result = library().bpf_map_lookup_and_delete_batch(
            fd, None if first else position, position, keys.ctypes.data, values.ctypes.data, ctypes.byref(count), None
        )
        if result not in (0, -errno.ENOENT):
            check(result, f"drain of map fd {fd}")
        parts.append(np.hstack([keys[: count.value], values[: count.value]]))  # as octets: by fields is slower
        first = False
    return np.concatenate(parts).view(entry).reshape(-1)


def possible_cpus() -> int:
    """Return how many values a per-CPU map holds."""
    return check(library().libbpf_num_possible_cpus(), "number of CPUs")
