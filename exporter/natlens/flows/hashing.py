"""64-bit hashes of tuples, in columns: they index the join and name the flows.

The function is fixed: ``flow.id`` is made of it and must be the same on every node and in every release.
"""

import numpy as np
import numpy.typing as npt

from natlens.flows.tuples import words

__all__ = ["hash_tuples", "mix"]

Hashes = npt.NDArray[np.uint64]

# splitmix64 (Steele, Lea, Flood 2014): an odd increment and the finalizer's two multipliers.
GAMMA, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mix(state: Hashes, word: Hashes) -> Hashes:
    """Return ``state`` with one more 64-bit ``word`` mixed in, element by element (wraps modulo 2**64)."""
    mixed: Hashes = (state ^ word) + GAMMA
    mixed = (mixed ^ (mixed >> np.uint64(30))) * FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * SECOND
    return mixed ^ (mixed >> np.uint64(31))


def hash_tuples(tuples: npt.NDArray[np.void], seed: int = 0) -> Hashes:
    """Return one hash a tuple (shape (n,), dtype uint64)."""
    columns = words(tuples)
    state = np.full(len(columns), seed, np.uint64)
    for column in range(columns.shape[1]):
        state = mix(state, columns[:, column])
    return state
