"""What a reader makes of a batch: one column, in the form in which it is cheapest to encode.

A column has one ``Value | None`` a connection; None is where the attribute does not apply.
"""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "LARGEST_KEY",
    "Choice",
    "Codes",
    "Column",
    "Digits",
    "Mask",
    "Numbers",
    "Pairs",
    "Value",
    "combine",
    "listed",
]

Value = str | int | float | bool | tuple[str, ...]
Pairs = tuple[tuple[str, str], ...]
"""Attributes whose names come with them."""
Codes = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

LARGEST_KEY = 1 << 62
"""How many combinations one number can tell apart."""


class Choice(NamedTuple):
    """Few different values, each of them encoded once.

    Columns that share one ``codes`` array (the attributes of one end) are encoded together.
    """

    codes: Codes
    """Shape (n,): index into ``values``; -1 is the last one, as everywhere in Python."""
    values: Sequence[Value | None]
    keys: Sequence[Hashable] | None = None
    """What each value was read from, if that is hashed fast: the same key has the same value in every batch."""


class Numbers(NamedTuple):
    """A number a connection."""

    values: npt.NDArray[np.int64] | npt.NDArray[np.float64]
    """Shape (n,); int64 is an int attribute, float64 a double."""
    present: Mask | None = None
    """Shape (n,): where the attribute applies; None is everywhere."""


class Digits(NamedTuple):
    """A text of fixed length in ASCII, different for every connection."""

    text: npt.NDArray[np.uint8]
    """Shape (n, length)."""


Column = Choice | Numbers | Digits


def listed(column: Column) -> list[Value | None]:
    """Return a column as Python objects, one a connection."""
    match column:
        case Choice(codes, values, _):
            return [values[code] for code in codes.tolist()]
        case Numbers(values, present):
            there = [True] * len(values) if present is None else present.tolist()
            return [value if holds else None for value, holds in zip(values.tolist(), there, strict=True)]
        case Digits(text):
            return [bytes(row).decode("ascii") for row in text]


def combine(parts: Sequence[tuple[npt.NDArray[Any], int]]) -> tuple[Codes, list[list[int]]]:
    """Return codes (shape (n,)) of the different combinations, and each combination's codes.

    Each part is codes and how many different ones there may be (-1 counts as the last). Raises
    ``ValueError`` where the product of the sizes is beyond what 62 bits can tell apart.
    """
    key = np.zeros(len(parts[0][0]), np.int64)
    product = 1
    for codes, size in parts:
        product *= size
        if product > LARGEST_KEY:
            raise ValueError(f"{product} combinations cannot be told apart by one number")
        key *= size
        key += np.where(codes < 0, codes + size, codes) if codes.dtype.kind == "i" else codes
    different, inverse = np.unique(key, return_inverse=True)
    combinations = []
    for _, size in reversed(parts):
        different, codes = np.divmod(different, size)
        combinations.append(codes.tolist())
    return inverse, [list(one) for one in zip(*reversed(combinations), strict=True)]
