"""Port reuse: a SYN with another sequence number is another connection under the same tuples."""

import numpy as np
import numpy.typing as npt

from natlens.flows.live import Live
from natlens.flows.match import Matches, opens

__all__ = ["divide"]

IDENTITY = ("original", "translated", "zone", "nat_source", "forward_ifindex", "reply_ifindex", "born_ns", "seen_ns")


def _reused(rows: npt.NDArray[np.void], entries: Live, matches: Matches) -> npt.NDArray[np.intp]:
    """Return the entries that may have begun anew: a SYN on a connection that stands, or one row among several."""
    opener = np.flatnonzero(opens(rows)[matches.row] & ~matches.reverse)
    if not len(opener):
        return opener
    of = matches.entry[opener]
    same = entries["syn"][of] & (entries["syn_seq"][of] == rows["value"]["syn_seq"][matches.row[opener]])
    differs = entries["started"][of] & ~same
    forward = np.bincount(matches.entry[~matches.reverse], minlength=len(entries))
    return np.unique(of[differs | (forward[of] > 1)])


def _begins(rows: npt.NDArray[np.void], entries: Live, index: int) -> list[int]:
    """Return when each further generation of one entry began; ``rows`` are its forward ones."""
    begins = []
    before = bool(entries["started"][index])
    current = int(entries["syn_seq"][index]) if entries["syn"][index] else None
    opening = opens(rows)
    for at in np.argsort(rows["value"]["first_ns"], kind="stable"):
        if opening[at]:
            seq = int(rows["value"]["syn_seq"][at])
            if before and seq != current:
                begins.append(int(rows["value"]["first_ns"][at]))
            current = seq
        before = True
    return begins


def divide(
    rows: npt.NDArray[np.void], entries: Live, matches: Matches
) -> tuple[Live, Matches, npt.NDArray[np.intp], int]:
    """Give each generation its own entry.

    Returns the entries with further generations appended, the matches to them, the entries that a later generation
    superseded, and the octets of answers that span two generations and stay with the earlier one.
    """
    added: list[Live] = []
    superseded: list[int] = []
    owner = matches.entry.copy()
    ambiguous, total = 0, len(entries)
    first = rows["value"]["first_ns"][matches.row].astype(np.int64)
    last = rows["value"]["last_ns"][matches.row].astype(np.int64)
    for index in _reused(rows, entries, matches):
        at = np.flatnonzero(matches.entry == index)
        begins = _begins(rows[matches.row[at[~matches.reverse[at]]]], entries, index)
        if not begins:
            continue
        generation = np.searchsorted(begins, first[at], "right")
        spans = matches.reverse[at] & (np.searchsorted(begins, last[at], "right") > generation)
        ambiguous += int(rows["value"]["octets"][matches.row[at[spans]]].sum())
        ids = np.r_[index, np.arange(total, total + len(begins))]
        owner[at] = ids[generation]
        superseded += ids[:-1].tolist()
        again = Live.zeros(len(begins))
        for name in IDENTITY:
            again[name][:] = entries[name][index]
        added.append(again)
        total += len(begins)
    entries = Live.concatenate([entries, *added]) if added else entries
    return entries, Matches(matches.row, owner, matches.reverse), np.array(superseded, np.intp), ambiguous
