"""Kubernetes objects to endpoints: what a record says about each."""

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from natlens.identity.claims import Subject
from natlens.identity.endpoint import Endpoint
from natlens.identity.objects import EndpointSlice, Metadata, Node, Pod, Service, SliceEndpoint
from natlens.identity.owner import owner_of

__all__ = ["API_SERVER", "Names", "namespace_of"]

ZONE = "topology.kubernetes.io/zone"
API_SERVER = Subject("Service", "default", "kubernetes")


def namespace_of(metadata: Metadata) -> str:
    """Return the namespace; an object without one is in ``default``, as kubectl has it."""
    return metadata.namespace or "default"


class Names:
    """Makes endpoints; equal ones are one instance, also across a ``previous`` set of names."""

    def __init__(self, nodes: Iterable[Node], slices: Iterable[EndpointSlice], previous: "Names | None" = None) -> None:
        self._known = previous._used if previous else {}
        self._used: dict[Endpoint, Endpoint] = {}
        self._zones = _zones(nodes, slices)

    def shared(self, endpoint: Endpoint) -> Endpoint:
        """Return the one instance that equals ``endpoint``."""
        return self._used.setdefault(endpoint, self._known.get(endpoint, endpoint))

    def node(self, name: str) -> Endpoint:
        """Name a node."""
        zone = self._zones.get(name)
        return self.shared(Endpoint(k8s_node_name=name, k8s_object_kind="node", cloud_availability_zone=zone))

    def pod(self, pod: Pod) -> Endpoint:
        """Name a pod from its own object."""
        owner = owner_of(pod.metadata)
        return self.shared(
            Endpoint(
                k8s_namespace_name=namespace_of(pod.metadata),
                k8s_pod_name=pod.metadata.name,
                k8s_pod_uid=pod.metadata.uid or None,
                k8s_node_name=pod.spec.node_name or None,
                k8s_owner_name=owner.name if owner else None,
                k8s_owner_type=owner.type if owner else None,
                k8s_owner_derived=owner.derived if owner else None,
                k8s_object_kind="pod",
                cloud_availability_zone=self._zones.get(pod.spec.node_name or ""),
            )
        )

    def pod_in_slice(self, subject: Subject, uid: str | None, backend: SliceEndpoint) -> Endpoint:
        """Name a pod that only an EndpointSlice knows: nothing there tells its owner."""
        return self.shared(
            Endpoint(
                k8s_namespace_name=subject.namespace,
                k8s_pod_name=subject.name,
                k8s_pod_uid=uid or None,
                k8s_node_name=backend.node_name or None,
                k8s_object_kind="pod",
                cloud_availability_zone=backend.zone or self._zones.get(backend.node_name or ""),
            )
        )

    def service(self, service: Service) -> Endpoint:
        """Name a Service."""
        namespace, name = namespace_of(service.metadata), service.metadata.name
        return self.shared(
            Endpoint(
                k8s_namespace_name=namespace,
                k8s_service_name=name,
                k8s_service_uid=service.metadata.uid or None,
                k8s_object_kind="apiserver" if Subject("Service", namespace, name) == API_SERVER else "service",
            )
        )

    def backend(self, service: Subject, uid: str | None, backend: SliceEndpoint) -> Endpoint:
        """Name an address that a Service sends to and that no object stands behind."""
        return self.shared(
            Endpoint(
                k8s_namespace_name=service.namespace,
                k8s_service_name=service.name or None,
                k8s_service_uid=uid,
                k8s_node_name=backend.node_name or None,
                k8s_object_kind="apiserver" if service == API_SERVER else "endpoint",
                cloud_availability_zone=backend.zone or self._zones.get(backend.node_name or ""),
            )
        )

    def serving(self, pod: Endpoint, service: Subject, uid: str | None) -> Endpoint:
        """Name a pod together with the Service whose address its own is (headless, or the API server)."""
        return self.shared(
            msgspec.structs.replace(
                pod,
                k8s_service_name=service.name,
                k8s_service_uid=uid,
                k8s_object_kind="apiserver" if service == API_SERVER else pod.k8s_object_kind,
            )
        )


def _zones(nodes: Iterable[Node], slices: Iterable[EndpointSlice]) -> dict[str, str]:
    """Return each node's zone: its own label, else what all slices agree on."""
    told: defaultdict[str, set[str]] = defaultdict(set)
    for found in slices:
        for backend in found.endpoints or ():
            if backend.node_name and backend.zone:
                told[backend.node_name].add(backend.zone)
    zones = {node: next(iter(all_told)) for node, all_told in told.items() if len(all_told) == 1}
    own = {node.metadata.name: (node.metadata.labels or {}).get(ZONE) for node in nodes}
    return zones | {name: zone for name, zone in own.items() if zone}
