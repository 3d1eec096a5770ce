"""Where this node stands towards a connection, and whether its record is the one that counts.

The rules (``docs/architecture.md``, "Whose record counts") are about places, so that every node comes to
its part of one answer without asking another.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from natlens.flows.connection import EndReason, Nat
from natlens.flows.hashing import one_of
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


@dataclass(frozen=True)
class Vicinity:
    """What a node knows of where it is."""

    place: Callable[[End], Place]
    """Where an end is; asked once for each different one in a role."""
    pod_devices: frozenset[int] = frozenset()
    """ifindexes that lead to local pods: what comes in by one begins here."""
    node_links: frozenset[int] = frozenset()
    """ifindexes that lead to other nodes."""


@dataclass
class _Fixed:
    """What was said in the first record of flows that go on; the ids are in order."""

    ids: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    reporter: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    primary: Mask = field(default_factory=lambda: np.zeros(0, np.bool_))


class Standings:
    """Decides at a flow's first record, and says the same in all later ones."""

    def __init__(self) -> None:
        self._fixed = _Fixed()

    def of(self, connections: npt.NDArray[np.void], ends: FourEnds, vicinity: Vicinity) -> Standing:
        """Return where this node stands towards connections (shape (n,), dtype CONNECTION) with these ends."""
        reporter, primary = _decide(connections, ends, vicinity)
        ids = connections["flow_id"][:, 0] ^ connections["flow_id"][:, 1]
        fixed = self._fixed
        if len(fixed.ids) and len(ids):
            at = np.minimum(np.searchsorted(fixed.ids, ids), len(fixed.ids) - 1)
            known = fixed.ids[at] == ids
            reporter = np.where(known, fixed.reporter[at], reporter)
            primary = np.where(known, fixed.primary[at], primary)
        self._remember(ids, reporter, primary, connections["end_reason"] == EndReason.ACTIVE_TIMEOUT)
        return Standing(reporter, primary)

    def _remember(self, ids: npt.NDArray[np.uint64], reporter: Places, primary: Mask, going_on: Mask) -> None:
        if not len(ids):
            return
        fixed = self._fixed
        stays = ~one_of(fixed.ids, np.sort(ids)) if len(fixed.ids) else np.zeros(0, np.bool_)
        together = np.r_[fixed.ids[stays], ids[going_on]]
        _, first = np.unique(together, return_index=True)
        self._fixed = _Fixed(
            together[first],
            np.r_[fixed.reporter[stays], reporter[going_on]][first],
            np.r_[fixed.primary[stays], primary[going_on]][first],
        )


def _decide(connections: npt.NDArray[np.void], ends: FourEnds, vicinity: Vicinity) -> tuple[Places, Mask]:
    source, destination, _, answering = ends

    def places(of: Ends) -> Places:
        each = [Place.OUTSIDE if end is None else vicinity.place(end) for end in of.each]
        return np.array(each, np.uint8)[of.codes]

    initiator = places(source)
    answerer = np.where(connections["nat"] & Nat.DNAT, places(answering), places(destination))
    by_pod = np.isin(connections["ifindex"], list(vicinity.pod_devices))
    initiator[by_pod & (initiator == Place.OUTSIDE)] = Place.HERE
    return _reporter(initiator == Place.HERE, answerer == Place.HERE), _primary(
        initiator, answerer, connections, vicinity
    )


def _reporter(begins: Mask, answers: Mask) -> Places:
    return np.select(
        [begins & answers, begins, answers],
        [Reporter.BOTH, Reporter.SOURCE, Reporter.DESTINATION],
        Reporter.TRANSIT,
    ).astype(np.uint8)


def _primary(initiator: Places, answerer: Places, connections: npt.NDArray[np.void], vicinity: Vicinity) -> Mask:
    """Return whether this is the first of the nodes that would count and run an agent."""
    crossing = (initiator == Place.OUTSIDE) & (answerer == Place.OUTSIDE)
    came_in = ~np.isin(connections["ifindex"], list(vicinity.node_links))
    translates = (connections["nat"] & Nat.SNAT) != 0
    found: Mask = np.select(
        [initiator == Place.HERE, initiator == Place.AGENT, translates, answerer == Place.HERE, crossing],
        [True, False, True, True, came_in],
        False,
    )
    return found
