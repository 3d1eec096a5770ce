"""Add a window's rows to their connections."""

import numpy as np
import numpy.typing as npt

from natlens.flows.hashing import hash_tuples, mix
from natlens.flows.live import Live
from natlens.flows.match import Matches, opens
from natlens.kernel.structs import ConntrackWord

__all__ = ["tally"]

Rows = npt.NDArray[np.void]


def tally(rows: Rows, entries: Live, matches: Matches, unix_offset_ns: int) -> None:
    """Add the rows to ``entries`` in place; an entry's first row starts it."""
    if not len(matches.row):
        return
    order = np.lexsort((matches.reverse, matches.entry))
    row, entry, reverse = matches.row[order], matches.entry[order], matches.reverse[order]
    value = rows["value"][row]
    border = np.flatnonzero(np.r_[True, (entry[1:] != entry[:-1]) | (reverse[1:] != reverse[:-1])])
    to, back = entry[border], reverse[border]
    for counter in ("octets", "packets"):
        sums = np.add.reduceat(value[counter], border)
        for direction, chosen in (("forward", ~back), ("reverse", back)):
            entries[f"{direction}_{counter}"][to[chosen]] += sums[chosen]
            entries[f"{direction}_{counter}_total"][to[chosen]] += sums[chosen]
    flags = np.bitwise_or.reduceat(value["tcp_flags"], border)
    entries["forward_flags"][to[~back]] |= flags[~back]
    entries["reverse_flags"][to[back]] |= flags[back]
    _remember_words(value, entries, entry)
    _remember_syns(rows[row], entries, entry, reverse)
    _move_times(rows[row], entries, entry, unix_offset_ns)


def _remember_words(value: Rows, entries: Live, entry: npt.NDArray[np.intp]) -> None:
    """Take the zone where conntrack named one."""
    heard = (value["conntrack"] >= ConntrackWord.ORIGINAL) & (entries["zone"][entry] < 0)
    entries["zone"][entry[heard]] = value["zone"][heard]


def _remember_syns(rows: Rows, entries: Live, entry: npt.NDArray[np.intp], reverse: npt.NDArray[np.bool_]) -> None:
    at = np.flatnonzero(opens(rows) & ~reverse)
    entries["syn"][entry[at]] = True
    entries["syn_seq"][entry[at]] = rows["value"]["syn_seq"][at]


def _move_times(rows: Rows, entries: Live, entry: npt.NDArray[np.intp], unix_offset_ns: int) -> None:
    """Start what is new: first packet, where it was counted, and a name for life. Move the last packet's time."""
    value = rows["value"]
    first, last = value["first_ns"].astype(np.int64), value["last_ns"].astype(np.int64)
    order = np.lexsort((first, entry))
    border = order[np.flatnonzero(np.r_[True, np.diff(entry[order]) > 0])]  # each entry's earliest row
    fresh = border[~entries["started"][entry[border]]]
    to = entry[fresh]
    entries["first_ns"][to], entries["last_ns"][to] = first[fresh], first[fresh]
    entries["start_ns"][to] = first[fresh] + unix_offset_ns
    entries["ifindex"][to] = rows["key"]["ifindex"][fresh]
    entries["started"][to] = True
    entries["flow_id"][to] = _flow_ids(entries[to])
    latest = entries["last_ns"].copy()
    np.maximum.at(latest, entry, last)
    entries["last_ns"] = latest


def _flow_ids(entries: Live) -> npt.NDArray[np.uint64]:
    """Return 128-bit names, shape (n, 2).

    Of the translated tuple, which both nodes see, and of the SYN's sequence number, which NAT keeps and no clock
    moves. A connection whose SYN was not seen (UDP, older than the agent) goes by its start instead: unique, but
    this node's own.
    """
    birth = np.where(entries["syn"], entries["syn_seq"].astype(np.uint64), entries["start_ns"].astype(np.uint64))
    zone = np.maximum(entries["zone"], 0).astype(np.uint64) << np.uint64(1) | entries["syn"].astype(np.uint64)
    ids = np.empty((len(entries), 2), np.uint64)
    for half in (0, 1):
        ids[:, half] = mix(mix(hash_tuples(entries["translated"], seed=half + 1), birth), zone)
    return ids
