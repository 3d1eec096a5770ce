"""64-bit hashes of tuples, in columns: they index the join and name the flows.

The function is fixed: ``flow.id`` is made of it and must be the same on every node and in every release.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from natlens.flows.columns import gather
from natlens.flows.tuples import words

__all__ = ["among", "distinct", "hash_tuples", "mix", "one_of"]

Hashes = npt.NDArray[np.uint64]
Number = TypeVar("Number", np.uint64, np.int64)

# The finalizer of splitmix64 (Steele, Lea, Flood 2014); its first half is a step, both halves end a hash.
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
HALF, LAST = np.uint64(32), np.uint64(29)


def _step(state: Hashes, word: Hashes) -> None:
    """Mix a word into ``state``, in place: an xor, a product and a shift keep every state distinct."""
    state ^= word
    state *= FIRST
    state ^= state >> HALF


def mix(state: Hashes, word: Hashes) -> Hashes:
    """Return ``state`` with one more 64-bit ``word`` mixed in, element by element (wraps modulo 2**64)."""
    mixed = state.copy()
    _step(mixed, word)
    mixed *= SECOND
    mixed ^= mixed >> LAST
    return mixed


def hash_tuples(tuples: npt.NDArray[np.void], seed: int = 0) -> Hashes:
    """Return one hash a tuple (shape (n,), dtype uint64)."""
    return _hash(words(tuples), seed)


def among(few: npt.NDArray[np.void], many: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    """Tell which of ``few`` tuples are among ``many``; only those of the many whose ports are asked for are hashed."""
    if not len(few):
        return np.zeros(0, np.bool_)
    many = np.ascontiguousarray(many)
    near = np.flatnonzero(one_of(words(many)[:, -1], np.unique(words(few)[:, -1])))
    return np.isin(hash_tuples(few), hash_tuples(gather(many, near)))


def one_of(many: npt.NDArray[Number], few: npt.NDArray[Number]) -> npt.NDArray[np.bool_]:
    """Tell which of ``many`` numbers are in ``few``, at least one and in order (``numpy.isin`` sorts the many)."""
    found: npt.NDArray[np.bool_] = few[np.minimum(np.searchsorted(few, many), len(few) - 1)] == many
    return found


def distinct(columns: Hashes) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return where each different row of words (shape (n, k)) stands first, and which one each row is (shape (n,))."""
    if not len(columns):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    hashes = _hash(columns)
    order = np.argsort(hashes)  # half the time of numpy.unique, which has to have a stable one
    ordered = hashes[order]
    begins = np.r_[True, ordered[1:] != ordered[:-1]]
    first = np.minimum.reduceat(order, np.flatnonzero(begins))
    which = np.empty(len(order), np.intp)
    which[order] = np.cumsum(begins) - 1
    differ = ((column != column[first][which]).any() for column in columns.T)
    if any(differ):  # two rows of one hash: once in 10**9 windows
        _, first, which = np.unique(columns, axis=0, return_index=True, return_inverse=True)
    return first, which


def _hash(columns: Hashes, seed: int = 0) -> Hashes:
    state = np.full(len(columns), (seed + 1) * 0x9E3779B97F4A7C15 % 2**64, np.uint64)
    for column in range(columns.shape[1]):
        _step(state, columns[:, column])
    state *= SECOND
    state ^= state >> LAST
    return state
