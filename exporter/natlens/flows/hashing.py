"""64-bit hashes of tuples, in columns: they index the join and name the flows.

The function is fixed: ``flow.id`` is made of it and must be the same on every node and in every release.
"""

import numpy as np
import numpy.typing as npt

from natlens.flows.tuples import words

__all__ = ["hash_tuples", "mix"]

Hashes = npt.NDArray[np.uint64]

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
    columns = words(tuples)
    state = np.full(len(columns), (seed + 1) * 0x9E3779B97F4A7C15 % 2**64, np.uint64)
    for column in range(columns.shape[1]):
        _step(state, columns[:, column])
    state *= SECOND
    state ^= state >> LAST
    return state
