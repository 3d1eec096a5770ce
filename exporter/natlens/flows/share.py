"""Rows that several connections share: two entries with one ORIGINAL (a lost race, or a UDP entry reborn).

The kernel counts each entry's forward packets where they leave, so the row can be split by those counts.
What they do not cover goes to the oldest entry and is counted as ambiguous: never last-wins, never lost.
"""

import numpy as np
import numpy.typing as npt

from natlens.flows.live import Live
from natlens.flows.match import Matches

__all__ = ["split"]

COUNTERS = "octets", "packets"


def split(rows: npt.NDArray[np.void], entries: Live, matches: Matches) -> tuple[npt.NDArray[np.void], Matches, int]:
    """Return rows and matches in which each row belongs to one entry, and how many octets stayed ambiguous."""
    count = np.bincount(matches.row, minlength=len(rows))
    shared = count[matches.row] > 1
    if not shared.any():
        return rows, matches, 0
    parts, owners, reverse, ambiguous = [], [], [], 0
    for index in np.unique(matches.row[shared]):
        at = np.flatnonzero(matches.row == index)
        at = at[np.argsort(entries["born_ns"][matches.entry[at]], kind="stable")]
        pieces, unsure = _divide(rows[index], entries.take(matches.entry[at]), forward=not matches.reverse[at[0]])
        used = pieces["value"]["packets"] > 0
        pieces, at = pieces[used], at[used]
        parts.append(pieces)
        owners.append(matches.entry[at])
        reverse.append(matches.reverse[at])
        ambiguous += unsure
    alone = ~shared
    divided = np.concatenate(parts)
    joined = Matches(
        np.concatenate([matches.row[alone], np.arange(len(rows), len(rows) + len(divided))]),
        np.concatenate([matches.entry[alone], *owners]),
        np.concatenate([matches.reverse[alone], *reverse]),
    )
    return np.concatenate([rows, divided]), joined, ambiguous


def _amounts(whole: int, weights: list[int], heir: int) -> tuple[list[int], int]:
    """Divide ``whole`` by ``weights``; what these do not cover goes to ``heir``. Returns that part as well."""
    total = sum(weights)
    amounts = [whole * weight // total for weight in weights] if total > whole else list(weights)
    rest = whole - sum(amounts)
    amounts[heir] += rest
    return amounts, whole if total > whole else rest


def _divide(row: np.void, entries: Live, *, forward: bool) -> tuple[npt.NDArray[np.void], int]:
    """Divide one row among entries; returns the pieces (their sums are the row's) and the octets without evidence."""
    pieces = np.repeat(np.array([row]), len(entries))
    weights = {name: entries[f"weight_{name}"].tolist() if forward else [0] * len(entries) for name in COUNTERS}
    packets, _ = _amounts(int(row["value"]["packets"]), weights["packets"], 0)
    carried = [weight if count else 0 for weight, count in zip(weights["octets"], packets, strict=True)]
    heir = next(index for index, count in enumerate(packets) if count)  # octets come in packets
    octets, unsure = _amounts(int(row["value"]["octets"]), carried, heir)
    pieces["value"]["packets"], pieces["value"]["octets"] = packets, octets
    born = entries["born_ns"].astype(np.uint64)
    pieces["value"]["first_ns"] = np.clip(born, row["value"]["first_ns"], row["value"]["last_ns"])
    pieces["value"]["first_ns"][0] = row["value"]["first_ns"]
    return pieces, unsure
