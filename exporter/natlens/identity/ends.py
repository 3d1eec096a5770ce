"""The ends of many connections: each different one once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from natlens.identity.endpoint import Endpoint

__all__ = ["End", "Ends"]


class End(NamedTuple):
    """One end of a connection: an address, and what it was."""

    address: str
    endpoint: Endpoint


class Ends(NamedTuple):
    """The ends of connections in one role: connection i has ``each[codes[i]]``."""

    codes: npt.NDArray[np.intp]
    """Shape (n,): index into ``each``; -1, its last, is None: a connection without such an end."""
    each: Sequence[End | None]

    @classmethod
    def of(cls, codes: npt.NDArray[np.intp], each: Sequence[End | None]) -> "Ends":
        """Return these ends, with no more of ``each`` than ``codes`` (-1: none) name."""
        seen = np.zeros(len(each) + 1, np.bool_)  # the last for -1
        seen[codes] = True
        seen[-1] = False
        compact = np.where(codes < 0, -1, (np.cumsum(seen) - 1)[codes])
        return cls(compact, [*(each[one] for one in np.flatnonzero(seen).tolist()), None])

    def take(self, rows: npt.NDArray[np.intp]) -> "Ends":
        """Return the ends of the connections ``rows``."""
        return Ends.of(self.codes[rows], self.each)
