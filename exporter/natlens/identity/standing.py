"""Where this node stands towards a connection, and whether its record is the one that counts."""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Reporter", "Standing"]


class Reporter(IntEnum):
    """``flow.reporter``: which ends of a connection are here."""

    SOURCE = 1  # the initiator
    DESTINATION = 2  # what really answered
    BOTH = 3
    TRANSIT = 4


class Standing(NamedTuple):
    """Of n connections."""

    reporter: npt.NDArray[np.uint8]
    """Shape (n,), of :class:`Reporter`."""
    primary: npt.NDArray[np.bool_]
    """Shape (n,): true on exactly one node's record of a connection."""
