"""From lists and events to the ledger: what is told when, by which part of a kind."""

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from threading import Lock
from typing import TypeVar

from natlens.identity.claims import Subject
from natlens.identity.intervals import BEGIN
from natlens.identity.lives import Life, When
from natlens.identity.lookup import Lookup, Sources
from natlens.identity.objects import EndpointSlice, KubernetesObject, Node, Service
from natlens.identity.selection import Selection
from natlens.identity.settings import IdentitySettings
from natlens.identity.views import Views
from natlens.identity.words import AboutNode, AboutPod, Word, word

__all__ = ["Intake", "Kind"]

PIECE = 32
"""Objects of a list that are applied while lookups wait."""
PAUSE_S = 0.0001
"""Between pieces: a lock is not fair, and whoever has just left it would have it again at once."""
TELLS_OUTSIDE = {Service, EndpointSlice, Node}
"""Once all of these are known, an address that none of them names is outside."""
Kind = type[KubernetesObject]
Some = TypeVar("Some")


class Intake:
    """Takes objects from several threads; ``lock`` is held for a few at a time."""

    def __init__(
        self,
        sources: Sources,
        lookup: Lookup,
        views: Views,
        lock: Lock,
        settings: IdentitySettings,
        *,
        live: bool,
    ) -> None:
        self._ledger, self._nodes = sources.ledger, sources.nodes
        self._lookup, self._views, self._lock, self._live = lookup, views, lock, live
        self._selection = Selection(settings.labels, settings.annotations)
        self._node_name, self._wait_ns = settings.node_name, settings.wait_ns
        self._listed: set[tuple[Kind, bool]] = set()
        self._heard: dict[tuple[Kind, bool], int] = {}

    def replace(self, kind: Kind, objects: Iterable[KubernetesObject], at_ns: int, own: bool | None) -> None:
        """See :meth:`Index.replace`."""
        parts = (True, False) if own is None else (own,)
        since = {part: self._before(kind, part, at_ns) for part in parts}
        seen: set[Subject] = set()
        for piece in _pieces(objects):
            time.sleep(PAUSE_S)
            with self._lock:
                for said in [word(one, self._selection) for one in piece]:
                    seen.add(said.subject)
                    if (part := self._is_own(said)) in since:
                        self._put(said, When(at_ns, since[part]))
        for lives in _pieces(self._missing(kind, seen, parts)):
            time.sleep(PAUSE_S)
            with self._lock:
                for life in lives:
                    self._delete(life.subject, life.uid, None, When(at_ns, since[self._is_own(life)]))
        with self._lock:
            self._listed |= {(kind, part) for part in parts}
            self._heard |= {(kind, part): at_ns for part in parts}
            complete = self._live and all((one, False) in self._listed for one in TELLS_OUTSIDE)
            if complete != self._lookup.complete:
                self._lookup.complete = complete
                self._views.clear()

    def put(self, one: KubernetesObject, at_ns: int) -> None:
        """See :meth:`Index.put`."""
        with self._lock:
            said = word(one, self._selection)
            self._put(said, When(at_ns, at_ns - self._wait_ns))
            self._heard[type(one), self._is_own(said)] = at_ns

    def delete(self, one: KubernetesObject, at_ns: int) -> None:
        """See :meth:`Index.delete`."""
        with self._lock:
            said = word(one, self._selection)
            self._delete(said.subject, said.uid, said, When(at_ns, at_ns - self._wait_ns))
            self._heard[type(one), self._is_own(said)] = at_ns

    def _put(self, said: Word, when: When) -> None:
        if self._ledger.put(said, when):
            self._changed(said.subject)

    def _delete(self, subject: Subject, uid: str, said: Word | None, when: When) -> None:
        if self._ledger.delete(subject, uid, said, when):
            self._changed(subject)

    def _changed(self, subject: Subject) -> None:
        """Make void what an object bears on beside the addresses that it names."""
        self._views.drop_dependents(subject)
        if subject.kind == "Node":
            life = self._ledger.current(subject)
            about = life.about if life and isinstance(life.about, AboutNode) else None
            if self._nodes.put(subject.name, about):
                self._views.clear()

    def _missing(self, kind: Kind, seen: set[Subject], parts: Iterable[bool]) -> list[Life]:
        with self._lock:
            lives = [one for one in self._ledger.lives(kind.__name__) if one.subject not in seen]
            return [one for one in lives if self._is_own(one) in parts]

    def _before(self, kind: Kind, own: bool, at_ns: int) -> int:
        """Return the time after which happened what a list tells: what was so then would have been heard of."""
        if (kind, own) not in self._listed:
            return BEGIN
        return min(self._heard.get((kind, own), at_ns), at_ns) - self._wait_ns

    def _is_own(self, of: Word | Life) -> bool:
        """Tell whether an object is this node, or a pod of it."""
        if isinstance(of.about, AboutPod):
            return of.about.node == self._node_name
        return isinstance(of.about, AboutNode) and of.subject.name == self._node_name


def _pieces(of: Iterable[Some]) -> Iterator[list[Some]]:
    rest = iter(of)
    while piece := list(islice(rest, PIECE)):
        yield piece
