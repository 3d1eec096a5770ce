"""The index in time: what was behind an address, from what Kubernetes objects say and when they said it."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from threading import Lock

from natlens.health import Health
from natlens.identity.bindings import Bindings
from natlens.identity.claims import Port, Role, Subject
from natlens.identity.endpoint import UNKNOWN, Endpoint
from natlens.identity.explain import Explanation, explanation
from natlens.identity.facts import Facts
from natlens.identity.intake import Intake, Kind
from natlens.identity.intervals import END
from natlens.identity.ledger import Ledger
from natlens.identity.lives import Rules
from natlens.identity.lookup import Lookup, Sources
from natlens.identity.named import AMBIGUOUS
from natlens.identity.networks import Network
from natlens.identity.nodes import Nodes
from natlens.identity.objects import KubernetesObject
from natlens.identity.settings import IdentitySettings
from natlens.identity.specials import Specials
from natlens.identity.views import View, Views
from natlens.identity.words import AboutSlice

__all__ = ["Index", "Part"]


SPARE = 4096
"""Endpoints of nobody that are kept: what comes back is the same instance."""


class Index:
    """Answers by address, port and time; an :class:`~natlens.identity.endpoint.Identity`, but for ``wait_ns``.

    Safe for several threads that feed it and one that asks. Times are ns of Unix time. Equal answers are one instance.
    Without ``settings`` it has no history: what was put last holds at all times, as for a file of objects.
    Counts ``identity_ambiguous``.
    """

    def __init__(self, health: Health, settings: IdentitySettings | None = None) -> None:
        self._health = health
        self._history = settings is not None
        settings = settings or IdentitySettings(node_name="")
        self._grace_ns = settings.grace_ns
        self._lock = Lock()
        self._views, self._nodes, self._bindings = Views(), Nodes(), Bindings(settings.grace_ns)
        self._facts = Facts(self._views, self._nodes)
        glimpsed = settings.node_name if settings.pods == "node+lookup" else None
        self._ledger = Ledger(self._facts, Rules(self._history, settings.grace_ns, glimpsed))
        sources = Sources(self._facts, self._ledger, self._nodes, self._bindings)
        self._specials = Specials(self._nodes, settings.cluster_cidrs, settings.cidr_labels)
        self._lookup = Lookup(sources, self._specials, settings.node_name)
        self._intake = Intake(sources, self._lookup, self._views, self._lock, settings, live=self._history)

    @property
    def remembered(self) -> int:
        """How many objects and tombstones are remembered."""
        return len(self._ledger)

    def endpoint(self, address: str, port: int, transport: int, at_ns: int) -> Endpoint:
        """Return what ``address`` (canonical text) was at ``at_ns``, the more exact claim first.

        More than one claim is none: the answer is UNKNOWN and ``identity_ambiguous`` counts.
        """
        found = self._find(address, (port, transport), at_ns)
        if found is AMBIGUOUS:
            self._health.add("identity_ambiguous")
            return UNKNOWN
        return found

    def ports(self, address: str) -> Collection[tuple[int, int]]:
        """Return which (port, transport) of ``address`` are told apart at some time: its own, a node's NodePorts."""
        if not self._facts.at(address):
            return ()
        view = self._views.get(address) or self._view(address, END - 1)
        if not view.of_node:
            return view.ports.keys()
        with self._lock:
            return list({**view.ports, **dict.fromkeys(self._facts.node_ports())})

    def borders(self, address: str, begin_ns: int, end_ns: int) -> Sequence[int]:
        """Return the times in (begin_ns, end_ns] from which ``address`` may have been something else, ascending."""
        if not self._history or not self._facts.at(address):
            return ()
        view = self._views.get(address) or self._view(address, end_ns)
        found = _between(view.borders, begin_ns, end_ns)
        if not view.of_node:
            return found
        with self._lock:
            others = _between(self._facts.node_port_borders(), begin_ns, end_ns)
        return sorted({*found, *others}) if others else found

    def explain(self, address: str, port: int, transport: int, at_ns: int) -> Explanation:
        """Return all that is known of an address (canonical text), and what came of it at a time."""
        with self._lock:
            return explanation(self._lookup, address, (port, transport), at_ns)

    def replace(self, kind: Kind, objects: Iterable[KubernetesObject], at_ns: int, *, own: bool | None = None) -> None:
        """Take a full list of a kind: what is not in it is gone as of ``at_ns``.

        ``own`` True: the list is of this node's objects only (its Node, its pods); False: those in it are left alone.
        """
        self._intake.replace(kind, objects, at_ns, own)

    def put(self, one: KubernetesObject, at_ns: int) -> None:
        """Take an object that is new or has changed, as was known at ``at_ns``."""
        self._intake.put(one, at_ns)

    def delete(self, one: KubernetesObject, at_ns: int) -> None:
        """Take the last state of an object that is gone; one of another uid with its name is left alone."""
        self._intake.delete(one, at_ns)

    def part(self, *, own: bool) -> "Part":
        """Return a sink for one who lists this node's objects of a kind only, or for one beside whom another does."""
        return Part(self, own)

    def bind(self, address: str, ifindex: int, at_ns: int, after_ns: int | None = None) -> None:
        """Take that the kernel reaches ``address``, a local pod's, by an interface: at ``at_ns``, not at ``after_ns``.

        Without ``after_ns`` it does so since ``at_ns``, exactly.
        """
        with self._lock:
            if self._bindings.bind(address, ifindex, at_ns, at_ns if after_ns is None else after_ns):
                self._views.drop(address)

    def unbind(self, ifindex: int, at_ns: int, after_ns: int | None = None) -> None:
        """Take that an interface was gone at ``at_ns``, and not yet at ``after_ns``; without, exactly then."""
        with self._lock:
            for address in self._bindings.unbind(ifindex, at_ns, at_ns if after_ns is None else after_ns):
                self._views.drop(address)

    def forget_bindings(self) -> None:
        """Forget what the kernel told of interfaces: some of it was missed, so nothing follows from the rest."""
        with self._lock:
            for address in self._bindings.clear():
                self._views.drop(address)

    def purge(self, now_ns: int) -> None:
        """Forget what has been over for longer than the grace; to be called now and then."""
        with self._lock:
            self._ledger.purge(now_ns)
            self._health.set("identity_objects", self._ledger.size)
            self._lookup.keep(self._views.endpoints(), 2 * len(self._views) + SPARE)
            for address in self._bindings.addresses():
                pods = [fact.held.since for fact in self._facts.at(address) if fact.statement.role == Role.POD]
                self._bindings.purge(address, min([now_ns - self._grace_ns, *pods]))

    def node_of(self, address: str, at_ns: int) -> str | None:
        """Return the node that an address was on: its object's, else the one whose podCIDR it is in."""
        found = self._find(address, (0, 0), at_ns).k8s_node_name
        with self._lock:
            return found or self._specials.node_of(address)

    def is_in_pod_network(self, address: str) -> bool:
        """Tell whether an address is in a node's podCIDR."""
        with self._lock:
            return self._specials.node_of(address) is not None

    def pod_networks(self) -> list[tuple[Network, str]]:
        """Return each podCIDR with its node."""
        with self._lock:
            return self._nodes.networks()

    def node_names(self) -> frozenset[str]:
        """Return the nodes whose Node is known."""
        with self._lock:
            return frozenset(self._nodes.names())

    def agents(self, service: str) -> frozenset[str] | None:
        """Return the nodes of the backends of ``namespace/name``; None if no EndpointSlice of it is known."""
        wanted = Subject("Service", *service.split("/", 1))
        with self._lock:
            slices = [life.about for life in self._ledger.lives("EndpointSlice")]
        found = [one.nodes for one in slices if isinstance(one, AboutSlice) and one.service == wanted]
        return frozenset[str]().union(*found) if found else None

    def _find(self, address: str, place: Port, at_ns: int) -> Endpoint:
        view = self._views.get(address)
        if view is None or not view.since <= at_ns < view.until:
            return self._answer(address, place, at_ns)
        if place not in view.ports and not (view.of_node and place in self._facts.node_ports()):
            return view.plain
        return (view.exact or {}).get(place) or self._answer(address, place, at_ns)

    def _answer(self, address: str, place: Port, at_ns: int) -> Endpoint:
        view = self._view(address, at_ns)
        with self._lock:
            if place not in view.ports and not (view.of_node and place in self._facts.node_ports()):
                return view.plain
            claims, _ = self._lookup.claims(address)
            found = self._lookup.endpoint(address, claims, place, at_ns)
            view.exact = {**(view.exact or {}), place: found}
            return found

    def _view(self, address: str, at_ns: int) -> View:
        with self._lock:
            view, needed = self._lookup.view(address, at_ns)
            self._views.put(address, view, needed)
            return view


class Part:
    """A sink whose lists are of a part of a kind; see :meth:`Index.replace`."""

    def __init__(self, index: Index, own: bool) -> None:
        self._index, self._own = index, own
        self.put, self.delete = index.put, index.delete

    def replace(self, kind: Kind, objects: Iterable[KubernetesObject], at_ns: int) -> None:
        """See :meth:`Index.replace`."""
        self._index.replace(kind, objects, at_ns, own=self._own)


def _between(times: Sequence[int], begin_ns: int, end_ns: int) -> Sequence[int]:
    return times[bisect_right(times, begin_ns) : bisect_right(times, end_ns)]
