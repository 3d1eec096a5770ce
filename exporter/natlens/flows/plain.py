"""Rows that no entry explains: connections without NAT, and who initiated them."""

import numpy as np
import numpy.typing as npt

from natlens.flows.columns import gather
from natlens.flows.hashing import hash_tuples
from natlens.flows.live import Live, blank
from natlens.flows.match import Matches
from natlens.flows.tuples import TUPLE, answerable, inverse, same, starts, words
from natlens.kernel.structs import ConntrackWord, Syn

__all__ = ["group"]

Rows = npt.NDArray[np.void]


def _pairs(tuples: npt.NDArray[np.void]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.void], npt.NDArray[np.bool_]]:
    """Return each tuple's group (it and its inverse are one), the groups' own tuples, and who carries that one."""
    turned = inverse(tuples)
    seed = 0
    while True:
        own, other = hash_tuples(tuples, seed), hash_tuples(turned, seed)
        straight = (own <= other) | ~answerable(tuples)
        first, member = _classes(np.where(straight, own, other))
        named = _choose(straight, tuples, turned)
        if same(named, gather(named, first[member])).all():
            return member, gather(named, first), straight
        seed += 1  # two groups share a hash: once in 2**64 / n² windows


def _choose(mask: npt.NDArray[np.bool_], yes: npt.NDArray[np.void], no: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Return ``np.where(mask, yes, no)`` of tuples."""
    chosen: npt.NDArray[np.void] = np.where(mask[:, None], words(yes), words(no)).view(TUPLE).reshape(-1)
    return chosen


def _classes(hashes: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the index of one element of each different hash, and for every element the number of its hash."""
    order = np.argsort(hashes)
    begins = np.r_[True, np.diff(hashes[order]) != 0][: len(hashes)]
    member = np.empty(len(hashes), np.intp)
    member[order] = np.cumsum(begins) - 1
    return order[begins], member


def _votes(
    rows: Rows, member: npt.NDArray[np.intp], straight: npt.NDArray[np.bool_], groups: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return, for each group, how conntrack and SYNs vote: > 0, its own tuple is the initiator's."""
    sign = np.where(straight, 1, -1)
    word, syn = rows["value"]["conntrack"], rows["value"]["syn"]
    by_word = np.where(word == ConntrackWord.ORIGINAL, sign, 0) - np.where(word == ConntrackWord.REPLY, sign, 0)
    acked = (syn & Syn.ACKED) != 0
    by_syn = np.where(syn != 0, np.where(acked, -sign, sign), 0)
    votes = np.zeros((2, groups), np.int64)
    np.add.at(votes[0], member, by_word)
    np.add.at(votes[1], member, by_syn)
    return votes[0], votes[1]


def group(
    rows: Rows, unmatched: npt.NDArray[np.intp], offset: int, young_ns: int
) -> tuple[Live, Matches, npt.NDArray[np.intp]]:
    """Make connections of the rows at ``unmatched``.

    Returns new entries, the matches of their rows (entries are numbered from ``offset``), and the rows
    to hold for the next window: those of connections that began after ``young_ns`` and of which conntrack has
    said nothing yet, for their translation may arrive with the next window.

    The initiator is who conntrack says it is; else who sent the SYN; else what the tuple alone tells.
    """
    part = gather(rows, unmatched)
    member, named, straight = _pairs(part["key"]["tuple"])
    by_word, by_syn = _votes(part, member, straight, len(named))
    forward = np.where(by_word != 0, by_word > 0, np.where(by_syn != 0, by_syn > 0, starts(named)))
    first = np.full(len(named), np.iinfo(np.int64).max)
    np.minimum.at(first, member, part["value"]["first_ns"].astype(np.int64))
    held = (first > young_ns) & (by_word == 0)
    number = np.cumsum(~held) - 1 + offset
    chosen = ~held[member]
    original = gather(_choose(forward, named, inverse(named)), ~held)
    matches = Matches(unmatched[chosen], number[member[chosen]], (straight != forward[member])[chosen])
    return blank(original, original), matches, unmatched[~chosen]
