"""Claims to endpoints: what a record says about each object."""

from collections.abc import Iterable

import msgspec

from natlens.identity.claims import Claim, Role, Subject
from natlens.identity.endpoint import Endpoint
from natlens.identity.ledger import Ledger
from natlens.identity.lives import Life
from natlens.identity.nodes import Nodes
from natlens.identity.owner import Owner, named_owner
from natlens.identity.selection import Selected
from natlens.identity.words import API_SERVER, AboutPod, AboutService

__all__ = ["AMBIGUOUS", "Names"]

AMBIGUOUS = Endpoint(k8s_object_kind="ambiguous")
"""Stands for "more than one object"; it is never given to a caller of the index."""


class Names:
    """Makes endpoints; equal ones are one instance."""

    def __init__(self, ledger: Ledger, nodes: Nodes) -> None:
        self._ledger, self._nodes = ledger, nodes
        self._used: dict[Endpoint, Endpoint] = {}

    def of(self, claim: Claim) -> Endpoint:
        """Name the subject of a claim."""
        statement = claim.fact.statement
        match statement.role:
            case Role.NODE:
                return self._node(statement.subject.name)
            case Role.CLUSTER | Role.OUTER | Role.NODE_PORT:
                return self._service(statement.subject, claim.uid)
            case Role.BARE:
                return self._backend(claim)
            case _:
                return self._pod(claim)

    def serving(self, pod: Endpoint, service: Subject) -> Endpoint:
        """Name a pod together with the Service whose address its own is (headless, or the API server)."""
        life = self._ledger.get(service)
        return self.shared(
            msgspec.structs.replace(
                pod,
                k8s_service_name=service.name,
                k8s_service_uid=life.uid or None if life else None,
                k8s_object_kind="apiserver" if service == API_SERVER else pod.k8s_object_kind,
                selected=tuple(sorted({*pod.selected, *_selected(life)})),
            )
        )

    def is_named_by_backends(self, service: Subject) -> bool:
        """Tell whether a Service has no address but its backends'."""
        life = self._ledger.get(service)
        headless = life is not None and isinstance(life.about, AboutService) and life.about.headless
        return headless or service == API_SERVER

    def shared(self, endpoint: Endpoint) -> Endpoint:
        """Return the one instance that equals ``endpoint``."""
        return self._used.setdefault(endpoint, endpoint)

    def keep(self, needed: Iterable[Endpoint], most: int) -> None:
        """Forget the instances that are not needed, if there are more than ``most``."""
        if len(self._used) > most:
            self._used = {endpoint: endpoint for endpoint in needed}

    def _node(self, name: str) -> Endpoint:
        return self.shared(
            Endpoint(
                k8s_node_name=name,
                k8s_object_kind="node",
                cloud_availability_zone=self._nodes.zone(name),
                selected=self._nodes.selected(name),
            )
        )

    def _pod(self, claim: Claim) -> Endpoint:
        statement = claim.fact.statement
        life = self._ledger.get(statement.subject, claim.uid)
        about = life.about if life and isinstance(life.about, AboutPod) else None
        owner: Owner | None = about.owner if about else named_owner(statement.subject.name)
        node = about.node if about else statement.node
        return self.shared(
            Endpoint(
                k8s_namespace_name=statement.subject.namespace,
                k8s_pod_name=statement.subject.name,
                k8s_pod_uid=claim.uid or None,
                k8s_node_name=node or None,
                k8s_owner_name=owner.name if owner else None,
                k8s_owner_type=owner.type if owner else None,
                k8s_owner_derived=owner.derived if owner else None,
                k8s_object_kind="pod",
                cloud_availability_zone=self._zone(node, statement.zone, own=about is not None),
                selected=about.selected if about else (),
            )
        )

    def _service(self, service: Subject, uid: str) -> Endpoint:
        return self.shared(
            Endpoint(
                k8s_namespace_name=service.namespace,
                k8s_service_name=service.name,
                k8s_service_uid=uid or None,
                k8s_object_kind="apiserver" if service == API_SERVER else "service",
                selected=_selected(self._ledger.get(service, uid)),
            )
        )

    def _backend(self, claim: Claim) -> Endpoint:
        """Name an address that a Service sends to and that no object stands behind."""
        statement = claim.fact.statement
        service = statement.subject
        life = self._ledger.get(service)
        return self.shared(
            Endpoint(
                k8s_namespace_name=service.namespace,
                k8s_service_name=service.name or None,
                k8s_service_uid=life.uid or None if life else None,
                k8s_node_name=statement.node or None,
                k8s_object_kind="apiserver" if service == API_SERVER else "endpoint",
                cloud_availability_zone=self._zone(statement.node, statement.zone, own=False),
                selected=_selected(life),
            )
        )

    def _zone(self, node: str, told: str, *, own: bool) -> str | None:
        return self._nodes.zone(node) if own or not told else told


def _selected(life: Life | None) -> Selected:
    return life.about.selected if life and isinstance(life.about, AboutService) else ()
