"""Windows as the kernel makes them of connections: a row a direction as they come in, and a translation of each NAT."""

import ctypes

import numpy as np
import numpy.typing as npt

from natlens.flows.connection import Nat
from natlens.flows.tuples import inverse
from natlens.kernel import libbpf
from natlens.kernel.structs import Side, TranslationSource
from natlens.kernel.windows import ROWS, TRANSLATIONS
from tests.bench.shapes import CONNECTIONS, Cluster, connections

__all__ = ["fill", "half_and_half", "rows_and_translations"]

SECOND = 10**9
BATCH = 16384


def half_and_half(cluster: Cluster, n: int = CONNECTIONS) -> npt.NDArray[np.void]:
    """Return ``n`` connections, half plain and half full, in any order."""
    both = [connections(cluster, n // 2, full=full, seed=1 + full) for full in (False, True)]
    mixed = np.concatenate(both)
    np.random.default_rng(1).shuffle(mixed)
    return mixed


def rows_and_translations(of: npt.NDArray[np.void], end_ns: int) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
    """Return rows (dtype ROWS) and translations (TRANSLATIONS) of connections in their middle, before ``end_ns``."""
    rows = np.zeros(2 * len(of), ROWS)
    rows["key"]["tuple"] = np.concatenate([of["original"], inverse(of["translated"])])
    rows["key"]["ifindex"], rows["key"]["side"] = np.repeat([3, 4], len(of)), Side.INGRESS
    for way, part in (("forward", rows[: len(of)]), ("reverse", rows[len(of) :])):
        part["value"]["octets"], part["value"]["packets"] = of[f"{way}_octets"], of[f"{way}_packets"]
        part["value"]["tcp_flags"] = of[f"{way}_flags"]
    times = np.random.default_rng(2).integers(SECOND, 9 * SECOND, len(rows))
    rows["value"]["first_ns"], rows["value"]["last_ns"] = end_ns - times, end_ns - times // 2
    translated = of[of["nat"] != Nat.NONE]
    translations = np.zeros(len(translated), TRANSLATIONS)
    translations["key"]["original"] = translated["original"]
    translations["key"]["reply"] = inverse(translated["translated"])
    translations["value"]["first_ns"], translations["value"]["last_ns"] = end_ns - 9 * SECOND, end_ns - SECOND // 2
    translations["value"]["source"] = TranslationSource.TC
    return rows, translations


def fill(fd: int, entries: npt.NDArray[np.void]) -> None:
    """Put entries (fields ``key`` and ``value``) into a hash map."""
    for at in range(0, len(entries), BATCH):
        part = entries[at : at + BATCH]
        keys, values = np.ascontiguousarray(part["key"]), np.ascontiguousarray(part["value"])
        count = ctypes.c_uint32(len(part))
        result = libbpf.library().bpf_map_update_batch(
            fd, ctypes.c_void_p(keys.ctypes.data), ctypes.c_void_p(values.ctypes.data), ctypes.byref(count), None
        )
        if result:
            raise OSError(-result, "bpf_map_update_batch")
