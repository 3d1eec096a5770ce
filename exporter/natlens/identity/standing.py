"""Where this node stands towards a connection, and whether its record is the one that counts.

The rules (``docs/architecture.md``, "Whose record counts") are about places, so that every node comes to
its part of one answer without asking another.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from natlens.flows.connection import EndReason, Nat
from natlens.identity.ends import End, Ends
from natlens.identity.naming import FourEnds

__all__ = ["Place", "Reporter", "Standing", "Standings", "Vicinity"]

Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.uint8]


class Reporter(IntEnum):
    """``flow.reporter``: which ends of a connection are here."""

    SOURCE = 1  # the initiator
    DESTINATION = 2  # what really answered
    BOTH = 3
    TRANSIT = 4


class Standing(NamedTuple):
    """Of n connections."""

    reporter: npt.NDArray[np.uint8]
    """Shape (n,), of :class:`Reporter`."""
    primary: npt.NDArray[np.bool_]
    """Shape (n,): true on exactly one node's record of a connection."""


class Place(IntEnum):
    """Where an end is, as this node sees it."""

    HERE = 0
    AGENT = 1  # at another node, which runs an agent
    BARE = 2  # at another node, which runs none
    OUTSIDE = 3
    NEARBY = 4  # link-local, or all hosts of a link: several nodes may see it, and none knows whose it is


@dataclass(frozen=True)
class Vicinity:
    """What a node knows of where it is."""

    place: Callable[[End], Place]
    """Where an end is; asked once for each different one in a role."""
    pod_devices: frozenset[int] = frozenset()
    """ifindexes that lead to local pods: what comes in by one begins here."""
    node_links: frozenset[int] = frozenset()
    """ifindexes that lead to other nodes."""


class _Fixed(NamedTuple):
    """What was said in the first record of flows; the ids ascend."""

    ids: npt.NDArray[np.uint64]
    reporter: npt.NDArray[np.uint8]
    primary: Mask

    def find(self, ids: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.intp], Mask]:
        """Return where those of ``ids`` (ascending) stand that are here, and which of them are."""
        if not len(self.ids):
            return np.zeros(0, np.intp), np.zeros(len(ids), np.bool_)
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        known = self.ids[at] == ids
        return at[known], known

    def without(self, at: npt.NDArray[np.intp]) -> "_Fixed":
        """Return the others."""
        stays = np.ones(len(self.ids), np.bool_)
        stays[at] = False
        return _Fixed(self.ids[stays], self.reporter[stays], self.primary[stays])

    def joined(self, others: "_Fixed") -> "_Fixed":
        """Return both, of each id the first."""
        ids = np.r_[self.ids, others.ids]
        order = np.argsort(ids, kind="stable")  # two ascending runs: one merge
        first = order[np.r_[True, np.diff(ids[order]) != 0][: len(order)]]
        reporter, primary = np.r_[self.reporter, others.reporter], np.r_[self.primary, others.primary]
        return _Fixed(ids[first], reporter[first], primary[first])


class Standings:
    """Decides at a flow's first record, and says the same in all later ones."""

    def __init__(self) -> None:
        self._fixed = _Fixed(np.zeros(0, np.uint64), np.zeros(0, np.uint8), np.zeros(0, np.bool_))

    def of(self, connections: npt.NDArray[np.void], ends: FourEnds, vicinity: Vicinity) -> Standing:
        """Return where this node stands towards connections (shape (n,), dtype CONNECTION) with these ends."""
        ids = connections["flow_id"][:, 0] ^ connections["flow_id"][:, 1]
        order = np.argsort(ids)
        at, known = self._fixed.find(ids[order])
        reporter, primary = np.zeros(len(ids), np.uint8), np.zeros(len(ids), np.bool_)
        reporter[order[known]], primary[order[known]] = self._fixed.reporter[at], self._fixed.primary[at]
        new = np.sort(order[~known])
        if len(new):
            nat, ifindex = connections["nat"][new], connections["ifindex"][new]
            source, destination, _, answering = (one.take(new) for one in ends)
            reporter[new], primary[new] = _decide(nat, ifindex, (source, destination, answering), vicinity)
        going_on = order[connections["end_reason"][order] == EndReason.ACTIVE_TIMEOUT]
        self._fixed = self._fixed.without(at).joined(_Fixed(ids[going_on], reporter[going_on], primary[going_on]))
        return Standing(reporter, primary)


def _decide(
    nat: npt.NDArray[np.uint8], ifindex: npt.NDArray[np.uint32], ends: tuple[Ends, Ends, Ends], vicinity: Vicinity
) -> tuple[Places, Mask]:
    """``ends`` are source, destination, and destination after translation."""
    source, destination, answering = ends

    def places(of: Ends) -> Places:
        each = [Place.OUTSIDE if end is None else vicinity.place(end) for end in of.each]
        return np.array(each, np.uint8)[of.codes]

    initiator = places(source)
    answerer = np.where(nat & Nat.DNAT, places(answering), places(destination))
    begins = np.isin(ifindex, list(vicinity.pod_devices)) & (answerer != Place.HERE)  # else it may be of an answer
    initiator[begins & ((initiator == Place.OUTSIDE) | (initiator == Place.NEARBY))] = Place.HERE
    came_in = ~np.isin(ifindex, list(vicinity.node_links))
    primary = _primary(initiator, answerer, (nat & Nat.SNAT) != 0, came_in)
    return _reporter(initiator == Place.HERE, answerer == Place.HERE), primary


def _reporter(begins: Mask, answers: Mask) -> Places:
    return np.select(
        [begins & answers, begins, answers],
        [Reporter.BOTH, Reporter.SOURCE, Reporter.DESTINATION],
        Reporter.TRANSIT,
    ).astype(np.uint8)


def _primary(initiator: Places, answerer: Places, translates: Mask, came_in: Mask) -> Mask:
    """Return whether this is the first of the nodes that would count and run an agent.

    ``came_in``: by a link that leads to no other node.
    """
    elsewhere = (initiator == Place.AGENT) | (initiator == Place.NEARBY)
    crossing = (initiator == Place.OUTSIDE) & (answerer == Place.OUTSIDE)
    found: Mask = np.select(
        [initiator == Place.HERE, elsewhere, translates, answerer == Place.HERE, crossing],
        [True, False, True, True, came_in],
        False,
    )
    return found
