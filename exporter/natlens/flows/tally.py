"""Add a window's rows to their connections."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from natlens.flows.hashing import hash_tuples, mix
from natlens.flows.live import Live
from natlens.flows.match import Matches, opens
from natlens.kernel.structs import ConntrackWord

__all__ = ["tally"]

Rows = npt.NDArray[np.void]
Entries = npt.NDArray[np.intp]
Column = npt.NDArray[Any]

COUNTED = ("octets", "packets", "tcp_flags", "conntrack", "zone", "first_ns", "last_ns")
NEVER = np.iinfo(np.int64).max


def tally(rows: Rows, entries: Live, matches: Matches, unix_offset_ns: int) -> None:
    """Add the rows to ``entries`` in place; an entry's first row starts it."""
    if not len(matches.row):
        return
    value, entry = {name: rows["value"][name][matches.row] for name in COUNTED}, matches.entry
    slot = entry * 2 + matches.reverse
    for counter in ("octets", "packets"):
        sums = _sums(value[counter], slot, len(entries))
        for way, direction in enumerate(("forward", "reverse")):
            for name in (f"{direction}_{counter}", f"{direction}_{counter}_total"):
                entries[name][:] += sums[:, way]
    flags = np.zeros((len(entries), 2), np.uint8)
    np.bitwise_or.at(flags.reshape(-1), slot, value["tcp_flags"])
    for way, direction in enumerate(("forward", "reverse")):
        entries[f"{direction}_flags"][:] |= flags[:, way]
    _remember_words(value, entries, entry)
    _remember_syns(rows, entries, matches)
    _move_times(value, rows["key"]["ifindex"][matches.row], entries, entry, unix_offset_ns)


def _sums(values: npt.NDArray[np.uint64], slot: Entries, entries: int) -> npt.NDArray[np.uint64]:
    """Return the exact sums of both directions, shape (entries, 2)."""
    if (
        values.sum(dtype=np.float64) < 2**52
    ):  # then doubles hold every partial sum exactly, and this is ten times faster
        return np.bincount(slot, values, 2 * entries).astype(np.uint64).reshape(-1, 2)
    sums = np.zeros(2 * entries, np.uint64)
    np.add.at(sums, slot, values)
    return sums.reshape(-1, 2)


def _remember_words(value: Mapping[str, Column], entries: Live, entry: Entries) -> None:
    """Take the zone where conntrack named one."""
    heard = np.flatnonzero(value["conntrack"] >= ConntrackWord.ORIGINAL)
    heard = heard[entries["zone"][entry[heard]] < 0]
    entries["zone"][entry[heard]] = value["zone"][heard]


def _remember_syns(rows: Rows, entries: Live, matches: Matches) -> None:
    at = np.flatnonzero(opens(rows)[matches.row] & ~matches.reverse)
    entries["syn"][matches.entry[at]] = True
    entries["syn_seq"][matches.entry[at]] = rows["value"]["syn_seq"][matches.row[at]]


def _move_times(
    value: Mapping[str, Column], ifindex: Column, entries: Live, entry: Entries, unix_offset_ns: int
) -> None:
    """Start what is new: first packet, where it was counted, and a name for life. Move the last packet's time."""
    first, last = value["first_ns"].astype(np.int64), value["last_ns"].astype(np.int64)
    earliest, latest = np.full(len(entries), NEVER), entries["last_ns"].copy()
    np.minimum.at(earliest, entry, first)
    fresh = np.flatnonzero((earliest != NEVER) & ~entries["started"])
    latest[fresh] = 0
    np.maximum.at(latest, entry, last)
    entries["last_ns"][:] = latest
    entries["first_ns"][fresh] = earliest[fresh]
    entries["start_ns"][fresh] = earliest[fresh] + unix_offset_ns
    begins = np.flatnonzero((first == earliest[entry]) & ~entries["started"][entry])
    entries["ifindex"][entry[begins]] = ifindex[begins]
    entries["started"][fresh] = True
    entries["flow_id"][fresh] = _flow_ids(entries, fresh)


def _flow_ids(entries: Live, fresh: Entries) -> npt.NDArray[np.uint64]:
    """Return 128-bit names of the ``fresh`` entries, shape (n, 2).

    Of the translated tuple, which both nodes see, and of the SYN's sequence number, which NAT keeps and no clock
    moves. A connection whose SYN was not seen (UDP, older than the agent) goes by its start instead: unique, but
    this node's own.
    """
    translated, syn = entries["translated"][fresh], entries["syn"][fresh]
    birth = np.where(syn, entries["syn_seq"][fresh], entries["start_ns"][fresh]).astype(np.uint64)
    zone = np.maximum(entries["zone"][fresh], 0).astype(np.uint64) << np.uint64(1) | syn
    ids = np.empty((len(fresh), 2), np.uint64)
    for half in (0, 1):
        ids[:, half] = mix(mix(hash_tuples(translated, seed=half + 1), birth), zone)
    return ids
