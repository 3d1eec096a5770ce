"""Whose an address, or an address and port, was: which claims go before which."""

from collections.abc import Sequence
from typing import NamedTuple

from natlens.identity.claims import Candidate, Claim, Decision, Port, Role, Subject, decide, winner
from natlens.identity.intervals import State

__all__ = ["Verdict", "serving", "verdict"]


class Verdict(NamedTuple):
    """The decision, and the ranks that led to it, the more exact ones first."""

    decision: Decision
    ranks: Sequence[Sequence[Candidate]]
    live: Sequence[Candidate]


def verdict(claims: Sequence[Claim], node_ports: Sequence[Claim], place: Port, at_ns: int) -> Verdict:
    """Return whose an address was at a time, with a port; ``node_ports`` claim this port at every node."""
    live = _live(claims, at_ns)
    if not live:
        return Verdict(Decision(State.NONE, None), (), ())
    node = _is_node(live)
    exact: list[Candidate] = _live(node_ports, at_ns) if node else []
    own: list[Candidate] = []
    mentioned_exact: list[Candidate] = []
    mentioned: list[Candidate] = []
    for one in live:
        statement = one.claim.fact.statement
        here = place in statement.ports
        match statement.role:
            case Role.HOST if here and (node or statement.address):
                exact.append(one)
            case Role.OUTER:  # several Services may share a load balancer's address
                exact += [one] * here
                own += [one] * (not node)
            case Role.TARGET if node or one.claim.exact:
                exact += [one] * here
            case Role.BARE:  # an owner's own claim goes before
                mentioned_exact += [one] * here
                mentioned += [one] * (not node)
            case Role.NODE | Role.POD | Role.CLUSTER:
                own.append(one)
            case Role.TARGET if not one.claim.silent:
                own.append(one)
    ranks = [exact, mentioned_exact, own] if node else [exact, own, mentioned_exact, mentioned]
    ranks = [rank for rank in ranks if rank]
    return Verdict(winner([decide(rank) for rank in ranks]), ranks, live)


def serving(found: Verdict, place: Port) -> set[Subject]:
    """Return the EndpointSlices that have the address at this port, as surely as it is the winner's."""
    if place == (0, 0):
        return set()
    least = min(State.POSSIBLE, found.decision.state)
    return {
        one.claim.fact.by
        for one in found.live
        if one.claim.fact.statement.role in {Role.TARGET, Role.BARE}
        and place in one.claim.fact.statement.ports
        and one.state >= least
    }


def _live(claims: Sequence[Claim], at_ns: int) -> list[Candidate]:
    return [Candidate(state, one) for one in claims if (state := one.held.state(at_ns))]


def _is_node(live: Sequence[Candidate]) -> bool:
    """Tell whether the address is a node's: nobody can have all of it then.

    One that was a node's is no longer, once another's claim has begun.
    """
    nodes = [one for one in live if one.claim.fact.statement.role == Role.NODE]
    if any(one.state >= State.POSSIBLE for one in nodes):
        return True
    others = [one for one in live if one.state >= State.POSSIBLE and one.claim.fact.statement.address]
    return bool(nodes) and not any(
        other.claim.held.sure_since >= node.claim.held.until for other in others for node in nodes
    )
