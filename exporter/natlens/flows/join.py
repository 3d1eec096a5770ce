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
from natlens.flows.tally import tally
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


def _names(entries: Live) -> npt.NDArray[np.uint64]:
    """Hash an entry's (ORIGINAL, REPLY, zone)."""
    both = mix(hash_tuples(entries["original"], 1), hash_tuples(entries["translated"], 2))
    return mix(both, np.maximum(entries["zone"], 0).astype(np.uint64))


def _refresh(live: Live, at: npt.NDArray[np.intp], news: Live) -> None:
    """Update known entries with what this window saw of them."""
    live["seen_ns"][at] = np.maximum(live["seen_ns"][at], news["seen_ns"])
    for name in ("weight_octets", "weight_packets"):
        live[name][at] = news[name]
    for name in ("forward_ifindex", "reply_ifindex"):
        live[name][at] = np.where(news[name] != 0, news[name], live[name][at])


def _translate(live: Live, news: Live) -> npt.NDArray[np.bool_]:
    """Give connections that were reported without NAT the translation that came late; returns which news were used."""
    waiting = np.flatnonzero(is_plain(live) & (live["zone"] < 0) & ~live["ended"])
    used = np.zeros(len(news), np.bool_)
    if not len(waiting):
        return used
    _, at, new = np.intersect1d(
        hash_tuples(live["original"][waiting]), hash_tuples(news["original"]), return_indices=True
    )
    for name in ("translated", "zone", "nat_source", "forward_ifindex", "reply_ifindex", "born_ns", "seen_ns"):
        live[name][waiting[at]] = news[name][new]
    used[new] = True
    return used


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
    """Return the table with the window's translations in it, each once."""
    live = live.copy()
    for name in ("weight_octets", "weight_packets"):
        live[name][:] = 0
    if not len(news):
        return live
    news = _merge(news)
    if len(live):
        # of several generations under one name the last one stands
        names, last = np.unique(_names(live)[::-1], return_index=True)
        wanted = _names(news)
        at = np.minimum(np.searchsorted(names, wanted), len(names) - 1)
        known = names[at] == wanted
        _refresh(live, len(live) - 1 - last[at[known]], news.take(known))
        news = news.take(~known)
        news = news.take(~_translate(live, news))
    return Live.concatenate([live, news])


def join(window: Window, carry: Carry, limits: Limits, *, flush: bool = False) -> Joined:
    """Join one window.

    Pure: the same arguments give the same result, and nothing of them is changed. Every row goes into exactly
    one connection, now or with the next window; with ``flush`` all of it now.
    """
    rows = stack([carry.held, window.rows]) if len(carry.held) else window.rows
    entries = _admit(carry.live, from_translations(window.translations))
    young_ns = window.end_ns if flush else window.end_ns - limits.settle_ns
    matches = claim.release(rows, entries, match(rows, entries), young_ns)
    explained = np.zeros(len(rows), np.bool_)
    explained[matches.row] = True
    rows, matches, shared_octets = share.split(rows, entries, matches)
    alone, more, held = plain.group(rows, np.flatnonzero(~explained), len(entries), young_ns)
    entries = Live.concatenate([entries, alone])
    matches = Matches(*(np.concatenate([getattr(matches, n), getattr(more, n)]) for n in ("row", "entry", "reverse")))
    entries, matches, superseded, spanning_octets = generations.divide(rows, entries, matches)
    tally(rows, entries, matches, window.unix_offset_ns)
    connections, live = report(entries, superseded, window.end_ns, limits, flush=flush)
    return Joined(connections, Carry(live, gather(rows, held)), shared_octets + spanning_octets)
