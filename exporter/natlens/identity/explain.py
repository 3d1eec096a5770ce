"""Why an address has the name that it has, or none."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from natlens.identity.claims import Claim, Port, Role, Subject, same
from natlens.identity.endpoint import UNKNOWN, Endpoint
from natlens.identity.intervals import Interval, State
from natlens.identity.lookup import Lookup
from natlens.identity.named import AMBIGUOUS
from natlens.identity.rules import Verdict

__all__ = ["Explanation", "Known", "Outcome"]

Outcome = Literal["won", "lost", "ambiguous", "not then", "other ports"]

SAYS = {
    Role.POD: "pod address",
    Role.TARGET: "pod behind a Service",
    Role.NODE: "node address",
    Role.CLUSTER: "cluster address",
    Role.OUTER: "external or load balancer address",
    Role.BARE: "backend without an object",
    Role.HOST: "port at the node's addresses",
    Role.NODE_PORT: "NodePort",
}


class Known(NamedTuple):
    """One fact about an address."""

    subject: Subject
    """Kind, namespace and name of the object whose address it is said to be."""
    uid: str
    says: str
    """What the address is to it."""
    ports: tuple[Port, ...]
    source: Subject
    """The object that says so."""
    held: Interval
    """When it held, in ns of Unix time, with what interfaces tell."""
    state: State
    """How it stood at the time that was asked for."""
    outcome: Outcome


class Explanation(NamedTuple):
    """What an address was at a time, and every fact about it."""

    endpoint: Endpoint
    ambiguous: bool
    known: Sequence[Known]


def explanation(lookup: Lookup, address: str, place: Port, at_ns: int) -> Explanation:
    """Return why an address, with a port, was what it was."""
    claims, _ = lookup.claims(address)
    found = lookup.verdict(claims, place, at_ns)
    endpoint = lookup.named(address, found, place, known=bool(claims))
    ambiguous = endpoint is AMBIGUOUS
    known = [_known(claim, found, at_ns) for claim in _all(claims, found)]
    return Explanation(UNKNOWN if ambiguous else endpoint, ambiguous, known)


def _all(claims: Sequence[Claim], found: Verdict) -> Iterator[Claim]:
    """Yield the claim of each fact once, those of NodePorts at the place too."""
    facts = {id(claim.fact): claim for rank in found.ranks for _, claim in rank}
    facts |= {id(claim.fact): claim for claim in claims}
    return iter(facts.values())


def _known(claim: Claim, found: Verdict, at_ns: int) -> Known:
    statement = claim.fact.statement
    state = claim.held.state(at_ns)
    outcome = _outcome(claim, found) if state else "not then"
    source = claim.fact.by
    return Known(
        statement.subject, claim.uid, SAYS[statement.role], statement.ports, source, claim.held, state, outcome
    )


def _outcome(claim: Claim, found: Verdict) -> Outcome:
    states = [state for rank in found.ranks for state, other in rank if other is claim]
    won = found.decision.claim
    if won is not None and same(won, claim):
        return "won"
    if not states:
        return "lost" if claim.silent else "other ports"
    return "ambiguous" if won is None and states[0] >= found.decision.state else "lost"
