"""Names from the Kubernetes API: what is watched, and what this node is in its cluster."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from natlens.config import Options
from natlens.errors import IdentityError
from natlens.health import Health
from natlens.identity.api.access import Access
from natlens.identity.api.keep import Keep
from natlens.identity.api.lookup import Lookup
from natlens.identity.api.nodes import Nodes
from natlens.identity.api.once import get_cluster_uid
from natlens.identity.api.resources import ALL_PODS, SERVICES, SLICES, Resource, own_node, pods_on
from natlens.identity.api.watch import Sink, Watcher
from natlens.identity.endpoint import Endpoint
from natlens.identity.explain import Explanation
from natlens.identity.index import Index
from natlens.identity.naming import FourEnds
from natlens.identity.objects import OVN_SUBNETS, ZONE, KubernetesObject, Node
from natlens.identity.settings import IdentitySettings, identity_settings
from natlens.identity.standing import Standing, Standings
from natlens.identity.vicinity import Surroundings
from natlens.kernel.routes import Network

__all__ = ["Cluster", "watched"]

log = logging.getLogger(__name__)

ROUND_S = 0.5
PATIENCE_S = 10.0
"""How long the first records wait for the first lists."""


class Cluster:
    """An :class:`~natlens.identity.endpoint.Identity` that threads keep current from :meth:`start` to :meth:`close`.

    Each watched resource has a thread, and so have the rare lists of all Nodes. When the API does not answer, the names
    known before stay.
    """

    def __init__(self, settings: IdentitySettings, access: Access, health: Health) -> None:
        self._settings, self._access, self._health = settings, access, health
        self._index = Index(health, settings)
        self._observer: dict[str, str] = {"node_name": settings.node_name}
        keep = Keep(settings.labels, settings.annotations | {OVN_SUBNETS})
        self._nodes = Nodes(access, keep, self._index.part(own=False), health)
        self._lookup = Lookup(access, keep, self._index, health) if settings.pods == "node+lookup" else None
        self._watchers = [
            Watcher(access, resource, keep, self._sink(resource), health) for resource in watched(settings)
        ]
        self._standings, self._surroundings = Standings(), Surroundings(settings, self._index, Network(), health)
        self._ready, self._started_s = False, time.monotonic()
        self._closing = threading.Event()
        self._announcer = threading.Thread(target=self._announce, name="natlens-names", daemon=True)

    @classmethod
    def open(cls, options: Options, health: Health) -> Self:
        """Return the cluster that the options say; raises ConfigError and IdentityError, before anything is asked."""
        settings = identity_settings(options)
        access = Access.open(options.kubeconfig, options.kube_context, allow_default_files=options.kubernetes == "on")
        return cls(settings, access, health)

    def start(self) -> None:
        """Begin to ask."""
        log.info("names come from %s, this node is %s there", self._access.server, self._settings.node_name)
        for one in (*self._watchers, self._nodes, self._lookup):
            if one is not None:
                one.start()
        self._started_s = time.monotonic()
        self._announcer.start()

    def close(self) -> None:
        """Stop asking; takes a second at the most."""
        self._closing.set()
        self._surroundings.close()
        for one in (*self._watchers, self._nodes, self._lookup):
            if one is not None:
                one.stop()

    def wait_synced(self, timeout_s: float) -> bool:
        """Wait until everything was listed once; return whether it was."""
        deadline = time.monotonic() + timeout_s
        lists: list[Watcher | Nodes] = [*self._watchers, self._nodes]
        return all(one.synced.wait(max(deadline - time.monotonic(), 0)) for one in lists)

    def _announce(self) -> None:
        """Say when names can be relied upon: records before that may lack some."""
        begin = time.monotonic()
        while not self._closing.is_set():
            if self.wait_synced(ROUND_S):
                log.info("names are current, after %.1f s", time.monotonic() - begin)
                return

    def endpoint(self, address: str, port: int, transport: int, at_ns: int) -> Endpoint:
        """Return what ``address`` was at ``at_ns``; see :class:`~natlens.identity.endpoint.Identity`."""
        return self._index.endpoint(address, port, transport, at_ns)

    def ports(self, address: str) -> Collection[tuple[int, int]]:
        """Return which ports of ``address`` are told apart."""
        return self._index.ports(address)

    def borders(self, address: str, begin_ns: int, end_ns: int) -> Sequence[int]:
        """Return when ``address`` may have become something else."""
        return self._index.borders(address, begin_ns, end_ns)

    def explain(self, address: str, port: int, transport: int, at_ns: int) -> Explanation:
        """Return why ``address`` has the name that it has."""
        return self._index.explain(address, port, transport, at_ns)

    @property
    def wait_ns(self) -> int:
        """How long after a packet its names may still come."""
        return self._settings.wait_ns

    @property
    def ready(self) -> bool:
        """Whether everything was listed once, or has not been for so long that records should not wait any more."""
        if not self._ready:
            self._ready = self.wait_synced(0) or time.monotonic() - self._started_s > PATIENCE_S
        return self._ready

    def refresh(self) -> bool:
        """Forget what is over; answers do not change by that."""
        self._index.purge(time.time_ns())
        return False

    def observer(self) -> Mapping[str, str]:
        """Return what is known of this node: its name, and when its Node was read its uid, zone and cluster."""
        return self._observer

    def standing(self, connections: npt.NDArray[np.void], ends: FourEnds) -> Standing | None:
        """Return where this node stands towards the connections."""
        vicinity = self._surroundings.vicinity()
        self._ask_for(ends)
        return self._standings.of(connections, ends, vicinity)

    @property
    def bells(self) -> Sequence[Surroundings]:
        """Return what to wait for, and to ``hear`` when it is readable."""
        return [self._surroundings]

    def _ask_for(self, ends: FourEnds) -> None:
        """Ask for what the ends show to be unknown: nodes by name, pods by address."""
        known = self._index.node_names()
        if not (self._surroundings.agents or known) <= known:
            self._nodes.want()
        for end in {end for each in ends for end in each.each if end is not None}:
            name, kind = end.endpoint.k8s_node_name, end.endpoint.k8s_object_kind
            if name and name not in known:
                self._nodes.want()
            if self._lookup and kind is None and self._index.node_of(end.address, time.time_ns()):
                self._lookup.ask(end.address)

    def _sink(self, resource: Resource) -> Sink:
        if resource.kind is Node:
            return _OwnNode(self._index, self._learn)
        return self._index.part(own=True) if resource.selector else self._index

    def _learn(self, node: Node) -> None:
        """Take what this node's own object says; the cluster's uid is asked for once."""
        told = {"node_uid": node.metadata.uid, "availability_zone": (node.metadata.labels or {}).get(ZONE)}
        found = {name: value for name, value in told.items() if value}
        if "cluster_uid" not in self._observer:
            try:
                found["cluster_uid"] = get_cluster_uid(self._access, self._health) or ""
            except IdentityError as error:
                found["cluster_uid"] = ""
                log.warning("%s (lost: k8s.cluster.uid)", error)
        if not found.items() <= self._observer.items():
            self._observer = {**self._observer, **found}


def watched(settings: IdentitySettings) -> list[Resource]:
    """Return what is followed."""
    pods = {"cluster": [ALL_PODS], "off": []}.get(settings.pods, [pods_on(settings.node_name)])
    return [SERVICES, SLICES, *pods, own_node(settings.node_name)]


class _OwnNode:
    """A sink of this node's own object, which also learns what it says."""

    def __init__(self, index: Index, learn: Callable[[Node], None]) -> None:
        self._index, self._learn = index, learn
        self.replace, self.delete = index.part(own=True).replace, index.delete

    def put(self, one: KubernetesObject, at_ns: int) -> None:
        self._index.put(one, at_ns)
        if isinstance(one, Node):
            self._learn(one)
