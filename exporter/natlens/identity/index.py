"""The index: what is behind an address, from a set of Kubernetes objects."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable

from natlens.health import Health
from natlens.identity.claims import AMBIGUOUS
from natlens.identity.endpoint import UNKNOWN, Endpoint
from natlens.identity.named import Names
from natlens.identity.objects import KubernetesObject
from natlens.identity.tables import Tables

__all__ = ["LINK_LOCAL", "Index"]

LINK_LOCAL = Endpoint(k8s_object_kind="link_local")
LINK_LOCAL_ADDRESS = re.compile(r"169\.254\.|fe[89ab][0-9a-f]:")  # 169.254.0.0/16 and fe80::/10


class Index:
    """Answers by address and port; an :class:`~natlens.identity.endpoint.Identity`.

    Equal answers are one instance, so a caller may cache by ``id``; what stays the same in the next
    index (``previous``) stays the same instance. Pure but for the counter ``identity_ambiguous``.
    """

    def __init__(self, objects: Iterable[KubernetesObject], health: Health, previous: "Index | None" = None) -> None:
        self._health = health
        tables = Tables(objects, previous._names if previous else None)
        self._names: Names = tables.names
        self._nodes = tables.nodes
        self._addresses = tables.addresses.endpoints()
        self._places = tables.places.endpoints()
        self._node_ports = tables.node_ports.endpoints()
        self._ports: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for address, port, transport in self._places:
            self._ports[address].append((port, transport))

    def endpoint(self, address: str, port: int, transport: int, at_ns: int) -> Endpoint:  # noqa: ARG002  # Identity
        """Return what ``address`` is, the more exact claim first: address and port, then the address.

        More than one claim is none: the answer is UNKNOWN and ``identity_ambiguous`` counts.
        """
        found = self._places.get((address, port, transport))
        if address in self._nodes:
            service = self._node_ports.get((port, transport))
            found = AMBIGUOUS if found and service and found != service else found or service
        if found is None:
            found = self._addresses.get(address)
        if found is None:
            return LINK_LOCAL if LINK_LOCAL_ADDRESS.match(address) else UNKNOWN
        if found is AMBIGUOUS:
            self._health.add("identity_ambiguous")
            return UNKNOWN
        return found

    def ports(self, address: str) -> Collection[tuple[int, int]]:
        """Return which (port, transport) of ``address`` are claimed apart from it: its own, a node's NodePorts."""
        own = self._ports.get(address, ())
        return [*own, *self._node_ports] if address in self._nodes else own
