"""From an address to the claims on it, and to what it was."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from natlens.identity.bindings import Bindings
from natlens.identity.claims import Claim, Fact, Port, Role, Subject
from natlens.identity.endpoint import Endpoint
from natlens.identity.facts import Facts
from natlens.identity.intervals import BEGIN, END, State
from natlens.identity.ledger import Ledger
from natlens.identity.lives import Life
from natlens.identity.named import AMBIGUOUS, Names
from natlens.identity.nodes import Nodes
from natlens.identity.rules import Verdict, serving, verdict
from natlens.identity.specials import Specials
from natlens.identity.views import View
from natlens.identity.words import API_SERVER, AboutPod, AboutSlice

__all__ = ["Lookup", "Sources"]

NOTHING: dict[Port, None] = {}


class Sources(NamedTuple):
    """Everything that is known."""

    facts: Facts
    ledger: Ledger
    nodes: Nodes
    bindings: Bindings


class Lookup:
    """Answers from ``sources``; the caller sees to it that they do not change meanwhile.

    ``node_name``: the node whose interfaces are seen.
    """

    def __init__(self, sources: Sources, specials: Specials, node_name: str) -> None:
        self._facts, self._ledger, self._nodes, self._bindings = sources
        self._specials, self._node_name = specials, node_name
        self._names = Names(self._ledger, self._nodes)
        self.complete = False
        """All Services, slices and nodes are known: what they do not name is outside."""

    def keep(self, needed: Iterable[Endpoint], most: int) -> None:
        """Forget the endpoints that are not needed, if there are more than ``most``."""
        self._names.keep(needed, most)

    def view(self, address: str, at_ns: int) -> tuple[View, list[Subject]]:
        """Return what an address was around a time, and the objects that this depends on."""
        claims, needed = self.claims(address)
        if not claims:
            return View(BEGIN, END, self.endpoint(address, claims, (0, 0), at_ns), NOTHING, False, ()), needed
        times = {time for claim in claims for time in claim.held.borders()}
        borders = tuple(sorted(times.union(self._bindings.borders(address)))) if times else ()
        of_node = any(claim.fact.statement.role == Role.NODE for claim in claims)
        since, until = _around(borders, at_ns)
        if of_node:
            others = _around(self._facts.node_port_borders(), at_ns)
            since, until = max(since, others[0]), min(until, others[1])
        apart = [claim.fact.statement.ports for claim in claims if self._tells(claim, of_node=of_node)]
        ports = dict.fromkeys(port for several in apart for port in several)
        plain = self.endpoint(address, claims, (0, 0), at_ns)
        return View(since, until, plain, ports or NOTHING, of_node, borders), needed

    def endpoint(self, address: str, claims: Sequence[Claim], place: Port, at_ns: int) -> Endpoint:
        """Return what an address with these claims was; :data:`AMBIGUOUS` if more than one thing."""
        return self.named(address, self.verdict(claims, place, at_ns), place, known=bool(claims))

    def verdict(self, claims: Sequence[Claim], place: Port, at_ns: int) -> Verdict:
        """Return whose it was, and why."""
        at_nodes = self._facts.node_ports().get(place, ())
        return verdict(claims, [Claim(fact, fact.held, fact.statement.uid) for fact in at_nodes], place, at_ns)

    def named(self, address: str, found: Verdict, place: Port, *, known: bool) -> Endpoint:
        """Return the endpoint that a verdict means; ``known``: there are claims, whatever came of them."""
        if found.decision.state == State.NONE:
            external = self.complete and not known and address not in self._bindings
            return self._specials.endpoint(address, external=external)
        claim = found.decision.claim
        if claim is None:
            return AMBIGUOUS
        endpoint = self._names.of(claim)
        if claim.fact.statement.subject.kind != "Pod":
            return endpoint
        services = {self._service(slice_) for slice_ in serving(found, place)}
        only = services if len(services) == 1 else services & {API_SERVER}
        for service in only:
            if self._names.is_named_by_backends(service):
                return self._names.serving(endpoint, service)
        return endpoint

    def claims(self, address: str) -> tuple[list[Claim], list[Subject]]:
        """Return the claims on an address, and the objects that decide what is made of them."""
        needed: list[Subject] = []
        found: list[Claim] = []
        of_local_pods: list[Fact] = []
        nodes: dict[str, None] = {}
        for fact in self._facts.at(address):
            statement = fact.statement
            if statement.role == Role.TARGET:
                needed += [statement.subject, self._service(fact.by)]
                found += self._target(fact)
            elif statement.role == Role.POD and statement.node == self._node_name:
                of_local_pods.append(fact)
            elif statement.role != Role.HOST or statement.only in {"", address}:
                found.append(Claim(fact, fact.held, statement.uid))
                if statement.role == Role.BARE:
                    needed.append(statement.subject)
                elif statement.role == Role.NODE:
                    nodes[statement.subject.name] = None
        found += self._local(address, of_local_pods)
        found += [Claim(fact, fact.held, fact.statement.uid) for fact in self._at_nodes(nodes, address)]
        return found, needed

    def _at_nodes(self, nodes: dict[str, None], address: str) -> Iterator[Fact]:
        return (fact for node in nodes for fact in self._facts.on(node) if fact.statement.only in {"", address})

    def _local(self, address: str, facts: Sequence[Fact]) -> list[Claim]:
        """Return claims of this node's pods, with what their interfaces tell."""
        if not facts:
            return []
        held = self._bindings.told(address, [(fact.held, self._proved(fact)) for fact in facts])
        return [
            Claim(fact, when, fact.statement.uid, doubtful=doubtful)
            for fact, (when, doubtful) in zip(facts, held, strict=True)
        ]

    def _proved(self, fact: Fact) -> int:
        life = self._ledger.get(fact.by, fact.statement.uid)
        return life.about.proved_ns if life and isinstance(life.about, AboutPod) else BEGIN

    def _target(self, fact: Fact) -> list[Claim]:
        """Return what a slice's word is worth: a pod's own object is the authority on its addresses."""
        statement = fact.statement
        life = self._ledger.get(statement.subject, statement.uid)
        if life is None or not isinstance(life.about, AboutPod):
            # a host-network pod looks like any other until its node is known
            stranger = self.complete and bool(statement.node) and statement.node not in self._nodes.names()
            return [Claim(fact, fact.held, statement.uid, exact=stranger)]
        if life.about.over and life.held.until == END:
            return []
        uid, held = statement.uid or life.uid, fact.held.within(life.held)
        return [Claim(fact, held, uid, exact=life.about.host_network, silent=_speaks(life))]

    def _tells(self, claim: Claim, *, of_node: bool) -> bool:
        """Tell whether a claim makes its ports differ from the others."""
        match claim.fact.statement.role:
            case Role.HOST | Role.OUTER | Role.BARE:
                return True
            case Role.TARGET:
                return of_node or claim.exact or self._names.is_named_by_backends(self._service(claim.fact.by))
        return False

    def _service(self, slice_: Subject) -> Subject:
        life = self._ledger.get(slice_)
        return life.about.service if life and isinstance(life.about, AboutSlice) else slice_


def _speaks(life: Life) -> bool:
    return isinstance(life.about, AboutPod) and life.about.addressed and not life.about.host_network


def _around(borders: Sequence[int], at_ns: int) -> tuple[int, int]:
    """Return the last border up to a time and the first one after it."""
    after = bisect_right(borders, at_ns)
    return (borders[after - 1] if after else BEGIN), (borders[after] if after < len(borders) else END)
