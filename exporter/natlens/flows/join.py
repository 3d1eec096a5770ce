"""The join: a window's rows and translations, and what the last one left over, become connections."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from natlens.flows import claim, generations, plain, share
from natlens.flows.columns import gather, stack
from natlens.flows.hashing import hash_tuples, mix
from natlens.flows.live import Live, from_translations, is_plain
from natlens.flows.match import Matches, match
from natlens.flows.report import Limits, report
from natlens.flows.selection import EVERYTHING, Selection
from natlens.flows.tally import tally
from natlens.kernel.structs import Cause
from natlens.kernel.windows import ROWS, Window

__all__ = ["Carry", "Joined", "join"]


@dataclass(frozen=True)
class Carry:
    """What one window leaves for the next."""

    live: Live = field(default_factory=lambda: Live.zeros(0))
    held: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(0, ROWS))  # rows that wait for a translation


@dataclass(frozen=True)
class Joined:
    """Records (dtype CONNECTION) of one window, what is carried on, and the octets that could have been another's."""

    connections: npt.NDArray[np.void]
    carry: Carry
    ambiguous_octets: int
    end_ns: int  # Unix time of the window's end
    decided: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros((Cause.SAMPLING + 1, 2), np.uint64))
    """Packets and octets that each rule decided about, and last what sampling left out; beside the kernel's own."""


def _names(entries: Live) -> npt.NDArray[np.uint64]:
    """Hash an entry's (ORIGINAL, REPLY, zone)."""
    both = mix(hash_tuples(entries["original"], 1), hash_tuples(entries["translated"], 2))
    return mix(both, np.maximum(entries["zone"], 0).astype(np.uint64))


def _refresh(live: Live, at: npt.NDArray[np.intp], news: Live, known: npt.NDArray[np.intp]) -> None:
    """Update the entries ``at`` with what this window saw of them, the ``known`` ones of the news."""
    live["seen_ns"][at] = np.maximum(live["seen_ns"][at], news["seen_ns"][known])
    for name in ("weight_octets", "weight_packets"):
        live[name][at] = news[name][known]
    for name in ("forward_ifindex", "reply_ifindex"):
        live[name][at] = np.where(news[name][known] != 0, news[name][known], live[name][at])


def _late(live: Live, news: Live, fresh: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return which connections were reported without NAT, and which of the ``fresh`` news is each one's translation."""
    waiting = np.flatnonzero(is_plain(live) & (live["zone"] < 0) & ~live["ended"])
    if not len(waiting):
        return waiting, waiting
    _, at, new = np.intersect1d(
        hash_tuples(live["original"][waiting]), hash_tuples(gather(news["original"], fresh)), return_indices=True
    )
    return waiting[at], fresh[new]


def _merge(news: Live) -> Live:
    """Return each entry once: two sources may have told of it (a program and a dump, a dump and ctnetlink)."""
    names = _names(news)
    order = np.lexsort((news["nat_source"], names))
    begins = np.flatnonzero(np.r_[True, names[order][1:] != names[order][:-1]])
    if len(begins) == len(news):
        return news
    merged, sorted_ = news.take(order[begins]), news.take(order)
    for name in ("weight_octets", "weight_packets"):
        merged[name][:] = np.add.reduceat(sorted_[name], begins)
    for name in ("forward_ifindex", "reply_ifindex", "seen_ns"):
        merged[name][:] = np.maximum.reduceat(sorted_[name], begins)
    merged["born_ns"][:] = np.minimum.reduceat(sorted_["born_ns"], begins)
    return merged


def _admit(live: Live, news: Live) -> Live:
    """Return the table with the window's translations in it, each once.

    What is to change is found before anything is copied: the table is the largest thing in memory.
    """
    news = _merge(news) if len(news) else news
    known, at = _known(live, news)
    late, new = _late(live, news, np.setdiff1d(np.arange(len(news)), known, assume_unique=True))
    rest = np.delete(np.arange(len(news)), np.concatenate([known, new]))
    added = news if len(rest) == len(news) else news.take(rest)
    table = Live.concatenate([live, added]) if len(added) else live.copy()
    for name in ("weight_octets", "weight_packets"):
        table[name][: len(live)] = 0
    _refresh(table, at, news, known)
    for name in ("translated", "zone", "nat_source", "forward_ifindex", "reply_ifindex", "born_ns", "seen_ns"):
        table[name][late] = news[name][new]
    return table


def _known(live: Live, news: Live) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return which of the news are in the table, and where; of several generations under one name the last stands."""
    if not len(live) or not len(news):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    names, last = np.unique(_names(live)[::-1], return_index=True)
    wanted = _names(news)
    at = np.minimum(np.searchsorted(names, wanted), len(names) - 1)
    known = np.flatnonzero(names[at] == wanted)
    return known, len(live) - 1 - last[at[known]]


def _select(
    rows: npt.NDArray[np.void], entries: Live, matches: Matches, selection: Selection
) -> tuple[Matches, npt.NDArray[np.uint64]]:
    """Return the matches of rows that are counted, and packets and octets by what decided about them."""
    original, translated = (gather(entries[name], matches.entry) for name in ("original", "translated"))
    decided = selection.decides(gather(rows["key"], matches.row), original, translated)
    sums = np.zeros((Cause.SAMPLING + 1, 2), np.uint64)
    known = np.flatnonzero(decided >= 0)
    for column, name in enumerate(("packets", "octets")):
        np.add.at(sums[:, column], decided[known], rows["value"][name][matches.row[known]])
    keep = ~selection.leaves_out(decided)
    return Matches(matches.row[keep], matches.entry[keep], matches.reverse[keep]), sums


def _forget(live: Live, selection: Selection, end_ns: int, limits: Limits) -> Live:
    """Return the table without silent entries of connections that are left out: no record will need their NAT."""
    silent = np.flatnonzero(~live["started"] & (np.maximum(live["seen_ns"], live["born_ns"]) < end_ns - limits.idle_ns))
    gone = silent[selection.forgets(*(gather(live[name], silent) for name in ("original", "translated")))]
    return live.take(np.delete(np.arange(len(live)), gone)) if len(gone) else live


def join(
    window: Window, carry: Carry, limits: Limits, *, flush: bool = False, selection: Selection = EVERYTHING
) -> Joined:
    """Join one window.

    Pure: the same arguments give the same result, and nothing of them is changed. Every row goes into exactly
    one connection, now or with the next window, but for those that ``selection`` leaves out; with ``flush`` all of it
    now. A caller who keeps neither the window nor
    the carry saves their memory from here on: a hundred thousand connections have 50 MiB of them.
    """
    end_ns, unix_offset_ns = window.end_ns, window.unix_offset_ns
    rows = stack([carry.held, window.rows]) if len(carry.held) else window.rows
    news = from_translations(window.translations)
    del window
    entries = _admit(carry.live, news)
    del carry, news
    young_ns = end_ns if flush else end_ns - limits.settle_ns
    matches = claim.release(rows, entries, match(rows, entries), young_ns)
    explained = np.zeros(len(rows), np.bool_)
    explained[matches.row] = True
    rows, matches, shared_octets = share.split(rows, entries, matches)
    alone, more, at = plain.group(rows, np.flatnonzero(~explained), len(entries), young_ns)
    entries = Live.concatenate([entries, alone]) if len(alone) else entries
    matches = Matches(*(np.concatenate([getattr(matches, n), getattr(more, n)]) for n in ("row", "entry", "reverse")))
    entries, matches, superseded, spanning_octets = generations.divide(rows, entries, matches)
    decided = {}
    if not selection.everything:
        matches, decided["decided"] = _select(rows, entries, matches, selection)
    tally(rows, entries, matches, unix_offset_ns)
    held = gather(rows, at)
    del rows, matches, more, alone
    connections, live = report(entries, superseded, end_ns, limits, flush=flush)
    if not selection.everything:
        live = _forget(live, selection, end_ns, limits)
    return Joined(connections, Carry(live, held), shared_octets + spanning_octets, end_ns + unix_offset_ns, **decided)
