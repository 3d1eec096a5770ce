"""Match rows to connections: which entry's packets were these, and in which direction?

A connection shows under four tuples. Coming in (before NAT) a packet carries ORIGINAL, or REPLY; what the
host sends (after NAT) carries the translated tuple, or the inverse of ORIGINAL; over lo a reply of the
host itself still carries REPLY. Where more than one entry fits, evidence decides, strongest first: the direction
that conntrack named, the entry's life, the interface, the zone (of what comes in only zone 0 can be asked, so a twin in
another zone gets that one's name), the side, the time.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from natlens.flows.columns import gather
from natlens.flows.hashing import hash_tuples
from natlens.flows.live import Live, is_plain
from natlens.flows.tuples import inverse, same
from natlens.kernel.structs import ConntrackWord, Side, Syn

__all__ = ["SLACK_NS", "Matches", "equal", "match", "opens", "outlives"]

Rows = npt.NDArray[np.void]
Indices = npt.NDArray[np.intp]

ORIGINAL, TRANSLATED, INVERSE_ORIGINAL, REPLY = range(4)
REVERSE = INVERSE_ORIGINAL  # forms from here on are responder → initiator

# The coarse clock runs up to one tick (10 ms at HZ=100) behind the precise one.
SLACK_NS = 10_000_000


@dataclass(frozen=True)
class Matches:
    """Parallel arrays: ``row[i]`` belongs to ``entry[i]``; a row that several entries share appears for each."""

    row: Indices
    entry: Indices
    reverse: npt.NDArray[np.bool_]


def opens(rows: Rows) -> npt.NDArray[np.bool_]:
    """Tell which rows begin with a SYN that is not an answer."""
    bits = Syn.FIRST | Syn.ACKED
    result: npt.NDArray[np.bool_] = (rows["value"]["syn"] & bits) == Syn.FIRST
    return result


def _form(entries: Live, form: int, of: Indices) -> npt.NDArray[np.void]:
    """Return the tuples by which packets of entries ``of`` go in one form."""
    tuples = gather(entries["translated" if form in (TRANSLATED, REPLY) else "original"], of)
    return inverse(tuples) if form >= REVERSE else tuples


def _candidates(tuples: npt.NDArray[np.void], entries: Live) -> tuple[Indices, Indices, Indices]:
    """Return (row, entry, form) of every entry that goes by a row's tuple."""
    everything, translated = np.arange(len(entries)), np.flatnonzero(~is_plain(entries))
    owners = [everything, translated, everything, translated]
    owner, form = np.concatenate(owners), np.repeat(np.arange(4), list(map(len, owners)))
    names = np.concatenate([hash_tuples(_form(entries, *one)) for one in enumerate(owners)])
    tuples = np.ascontiguousarray(tuples)
    row, at = equal(hash_tuples(tuples), names)
    entry, form = owner[at], form[at]
    really = np.zeros(len(row), np.bool_)  # hashes may collide, tuples do not
    for one in range(4):
        there = np.flatnonzero(form == one)
        really[there] = same(gather(tuples, row[there]), _form(entries, one, entry[there]))
    return row[really], entry[really], form[really]


def equal(wanted: npt.NDArray[np.uint64], names: npt.NDArray[np.uint64]) -> tuple[Indices, Indices]:
    """Return the pairs (i, j) with ``wanted[i] == names[j]``; those of one i are neighbours."""
    order, needles = np.argsort(names), np.argsort(wanted)
    names, wanted = names[order], wanted[needles]  # sorted needles: neighbours are found in the cache
    first = np.searchsorted(names, wanted, "left")
    count = np.searchsorted(names, wanted, "right") - first
    row = np.repeat(needles, count)
    offset = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    return row, order[np.repeat(first, count) + offset]


def _possible(rows: Rows, entries: Live, row: Indices, entry: Indices, form: Indices) -> npt.NDArray[np.bool_]:
    """Tell where a packet seen on that side can carry that form of the entry."""
    coming_in = (rows["key"]["side"] == Side.INGRESS)[row]
    before = (form == ORIGINAL) | (form == REPLY)
    result: npt.NDArray[np.bool_] = is_plain(entries)[entry] | np.where(coming_in, before, form != ORIGINAL)
    return result


def _evidence(rows: Rows, entries: Live, form: Indices) -> npt.NDArray[np.int64]:
    """Return how well each (row, entry) pair fits: ±1 a clue, the stronger clue in the higher digit (base 4)."""
    pair = np.arange(len(form))
    reverse = form >= REVERSE
    word, value = rows["value"]["conntrack"], rows["value"]
    known = word >= ConntrackWord.ORIGINAL
    direction = np.where(known, np.where((word == ConntrackWord.REPLY) == reverse, 1, -1), 0)
    zone = np.where(known & (entries["zone"] >= 0), np.where(value["zone"] == entries["zone"], 1, -1), 0)
    coming_in = rows["key"]["side"] == Side.INGRESS
    usual = np.where(coming_in, (form == ORIGINAL) | (form == REPLY), (form == TRANSLATED) | (form == INVERSE_ORIGINAL))
    side = np.where(is_plain(entries), 0, np.where(usual, 1, -1))
    by = np.where(reverse, entries["reply_ifindex"], entries["forward_ifindex"])
    interface = np.where(coming_in & (by != 0), np.where(rows["key"]["ifindex"] == by, 1, -1), 0)
    alive = np.where(entries["ended"], -1, 0)
    life = np.where(outlives(value, entries, pair, pair), -1, 0)
    score = np.zeros(len(form), np.int64)
    for clue in (direction, life, interface, zone, side, alive):
        score = score * 4 + clue
    return score


def _gap(value: Rows, entries: Live, row: Indices, entry: Indices) -> npt.NDArray[np.int64]:
    """Return, for each pair, the time (ns) between a row's packets and an entry's life; 0 where they overlap."""
    first, last = (value[name].astype(np.int64)[row] for name in ("first_ns", "last_ns"))
    until = np.maximum(entries["seen_ns"], entries["last_ns"])[entry]
    gap = np.maximum(np.maximum(entries["born_ns"][entry] - last, first - until), 0)
    result: npt.NDArray[np.int64] = np.where(gap <= SLACK_NS, 0, gap)
    return result


def outlives(value: Rows, entries: Live, row: Indices, entry: Indices) -> npt.NDArray[np.bool_]:
    """Tell, for each pair, whether the row lies before or after the life of a translated entry.

    Each packet of such an entry is seen leaving, and moves the time when the entry was last seen. Nothing of the
    kind is known of entries without NAT.
    """
    result: npt.NDArray[np.bool_] = (entries["nat_source"][entry] != 0) & (_gap(value, entries, row, entry) > 0)
    return result


def _distance(rows: Rows, entries: Live, row: Indices, entry: Indices) -> npt.NDArray[np.int64]:
    """Return how far apart in time (ns) a row and an entry are; a SYN is measured to the entry's birth."""
    birth = np.abs(entries["born_ns"][entry] - rows["value"]["first_ns"].astype(np.int64)[row])
    result: npt.NDArray[np.int64] = np.where(opens(rows)[row], birth, _gap(rows["value"], entries, row, entry))
    return result


def match(rows: Rows, entries: Live) -> Matches:
    """Return which entry each row belongs to; rows without an entry do not appear."""
    row, entry, form = _candidates(rows["key"]["tuple"], entries)
    fits = _possible(rows, entries, row, entry, form)
    row, entry, form = row[fits], entry[fits], form[fits]
    if (row[1:] == row[:-1]).any():
        row, entry, form = _best(rows, entries, row, entry, form)
    return Matches(row, entry, form >= REVERSE)


def _best(rows: Rows, entries: Live, row: Indices, entry: Indices, form: Indices) -> tuple[Indices, Indices, Indices]:
    """Keep for each row the entries that fit best; more than one only where nothing tells them apart."""
    score = _evidence(gather(rows, row), entries.take(entry), form)
    distance = _distance(rows, entries, row, entry)
    order = np.lexsort((entry, distance, -score, row))
    row, entry, form, score, distance = row[order], entry[order], form[order], score[order], distance[order]
    start = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
    leader = np.repeat(start, np.diff(np.r_[start, len(row)]))
    tied = (score == score[leader]) & (distance == distance[leader])
    return row[tied], entry[tied], form[tied]
