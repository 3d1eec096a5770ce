"""Who says an address is theirs: one owner is an answer, two are none.

There are 100,000 of the smaller things here; none is part of a cycle, so the garbage collector need not look at them.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct

from natlens.identity.intervals import Interval, State

__all__ = ["Claim", "Decision", "Fact", "Port", "Role", "Statement", "Subject", "decide", "same", "winner"]

Port = tuple[int, int]
"""Port and IP protocol number."""


class Subject(Struct, frozen=True, gc=False):
    """An object by its name; two claims of one subject are one claim, whatever else they know about it."""

    kind: str
    namespace: str
    name: str


class Role(IntEnum):
    """What an address is to the one who claims it."""

    POD = 1  # a pod's own address, by the pod's object
    TARGET = 2  # a pod's, by an EndpointSlice
    NODE = 3
    CLUSTER = 4  # a Service's cluster address
    OUTER = 5  # a Service's external address, or its load balancer's
    BARE = 6  # a Service sends to it, and no object stands behind it
    HOST = 7  # a pod's port at its node's addresses
    NODE_PORT = 8  # a Service's port at every address of every node


class Statement(Struct, frozen=True, gc=False):
    """One thing that an object says; two that are equal say the same."""

    role: Role
    address: str
    """Empty for what holds at each address of a node."""
    subject: Subject
    """Whose it is."""
    uid: str = ""
    node: str = ""
    zone: str = ""
    ports: tuple[Port, ...] = ()
    only: str = ""
    """Of the node's addresses the only one where it holds; empty: all."""


class Fact(Struct, eq=False, gc=False):
    """A statement, who made it, and when it was true."""

    statement: Statement
    by: Subject
    held: Interval
    due: bool = False
    """It will be forgotten when it is gone."""


class Claim(NamedTuple):
    """A fact as it bears on one address: what other facts say about its time is seen to."""

    fact: Fact
    held: Interval
    uid: str
    exact: bool = False
    """It holds only at its ports."""
    silent: bool = False
    """Its subject speaks for itself elsewhere: this tells only what serves at its ports."""
    doubtful: bool = False
    """It may be that nobody who is known held the address when this is not sure."""


class Candidate(NamedTuple):
    """A claim at one time."""

    state: State
    claim: Claim


class Decision(NamedTuple):
    """The subject of one rank; ``claim`` is None if there is more than one."""

    state: State
    claim: Claim | None


def same(one: Claim, other: Claim) -> bool:
    """Tell whether two claims are of one object; a name without a uid is any object of that name."""
    if one.fact.statement.subject != other.fact.statement.subject:
        return False
    return one.uid == other.uid or not one.uid or not other.uid


def decide(rank: Sequence[Candidate]) -> Decision:
    """Return whose it is among claims of equal weight, of which there is one at least.

    One that is sure goes before all that are not; a terminating object yields to one that became sure after its
    deletion was asked for. Else more than one subject is none.
    """
    if len(rank) == 1:
        state, claim = rank[0]
        return Decision(state, None if claim.doubtful and state != State.SURE else claim)
    state = max(one.state for one in rank)
    if state == State.SURE:
        rank = [one for one in rank if one.state == State.SURE]
        if len(rank) > 1:
            rank = [one for one in rank if not _yields(one.claim, rank)] or rank
    elif any(one.claim.doubtful for one in rank):
        return Decision(state, None)
    first = max(rank, key=lambda one: (-one.claim.fact.statement.role, one.state, one.claim.uid)).claim
    return Decision(state, first if all(same(first, one.claim) for one in rank) else None)


def _yields(claim: Claim, rank: Iterable[Candidate]) -> bool:
    return any(one.claim.held.sure_since >= claim.held.yields and not same(one.claim, claim) for one in rank)


def winner(decisions: Sequence[Decision]) -> Decision:
    """Return the decision that counts, of ranks of which the first are the more exact ones.

    Better evidence for another object further down makes it a tie; so much better that the first is a mere tombstone,
    and it wins.
    """
    for position, one in enumerate(decisions):
        rivals = [other.state for other in decisions[position + 1 :] if not _agree(one, other)]
        best = max(rivals, default=State.NONE)
        if best <= one.state:
            return one
        if one.state == State.POSSIBLE or best == State.POSSIBLE:
            return Decision(one.state, None)
    return Decision(State.NONE, None)


def _agree(one: Decision, other: Decision) -> bool:
    return one.claim is not None and other.claim is not None and same(one.claim, other.claim)
