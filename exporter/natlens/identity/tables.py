"""Which object owns which address, or address and port: the rules."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TypeVar

from natlens.flows.tuples import SCTP, TCP, UDP
from natlens.identity.addresses import (
    cluster_addresses,
    container_ports,
    host_addresses,
    outer_addresses,
    pod_addresses,
    service_of,
)
from natlens.identity.claims import Claims, Subject
from natlens.identity.endpoint import Endpoint
from natlens.identity.named import API_SERVER, Names, namespace_of
from natlens.identity.objects import (
    ContainerPort,
    EndpointSlice,
    KubernetesObject,
    Node,
    Pod,
    Service,
    SliceEndpoint,
    canonical,
)

__all__ = ["Tables"]

TRANSPORTS = {None: TCP, "TCP": TCP, "UDP": UDP, "SCTP": SCTP}
OVER = {"Succeeded", "Failed"}  # such a pod's address may already be another's

Place = tuple[str, int, int]  # address, port, IP protocol number
Some = TypeVar("Some", Pod, Service, EndpointSlice, Node)


class Tables:
    """Every claim on an address; built once from a set of objects.

    ``addresses`` and ``places`` are what to ask; ``node_ports`` holds for every address in ``nodes``.
    """

    def __init__(self, objects: Iterable[KubernetesObject], previous: Names | None = None) -> None:
        by_name = {(type(one), namespace_of(one.metadata), one.metadata.name): one for one in objects}
        self._pods = {_subject("Pod", pod): pod for pod in _of(Pod, by_name.values())}
        self._services = {_subject("Service", one): one for one in _of(Service, by_name.values())}
        nodes, slices = _of(Node, by_name.values()), _of(EndpointSlice, by_name.values())
        self.names = Names(nodes, slices, previous)
        self.addresses: Claims[str] = Claims()
        self.places: Claims[Place] = Claims()
        self.node_ports: Claims[tuple[int, int]] = Claims()
        self.nodes: set[str] = set()
        self._of_node: defaultdict[str, set[str]] = defaultdict(set)
        self._serving: defaultdict[Place, set[Subject]] = defaultdict(set)
        self._add_nodes(nodes, slices)
        self._add_pods()
        self._add_services()
        self._add_slices(slices)

    def _add_nodes(self, nodes: list[Node], slices: list[EndpointSlice]) -> None:
        for node in nodes:
            for entry in node.status.addresses or ():
                if address := canonical(entry.address):
                    self._add_node_address(node.metadata.name, address)
        for pod in self._pods.values():  # a pod tells its node's addresses too
            if pod.spec.node_name and pod.status.phase not in OVER:
                for address in host_addresses(pod):
                    self._add_node_address(pod.spec.node_name, address)
        for name, address in _kubelets(slices):
            self._add_node_address(name, address)

    def _add_node_address(self, name: str, address: str) -> None:
        self.nodes.add(address)
        self._of_node[name].add(address)
        self.addresses.add(address, Subject("Node", "", name), self.names.node(name))

    def _add_pods(self) -> None:
        for subject, pod in self._pods.items():
            if pod.status.phase in OVER:
                continue
            endpoint = self.names.pod(pod)
            if not pod.spec.host_network:
                for address in pod_addresses(pod):
                    self.addresses.add(address, subject, endpoint)
            for port in container_ports(pod):
                for place in self._host_places(pod, port):
                    self.places.add(place, subject, endpoint)

    def _host_places(self, pod: Pod, port: ContainerPort) -> Iterator[Place]:
        """Yield where a port is reached at the node's own addresses."""
        number = port.container_port if pod.spec.host_network else port.host_port
        only = canonical(port.host_ip or "")
        if number:
            for address in self._of_node[pod.spec.node_name or ""] | set(host_addresses(pod)):
                if only in {None, "0.0.0.0", "::", address}:  # noqa: S104  # not a bind
                    yield address, number, TRANSPORTS[port.protocol]

    def _add_services(self) -> None:
        for subject, service in self._services.items():
            endpoint = self.names.service(service)
            for address in cluster_addresses(service):
                self.addresses.add(address, subject, endpoint)
            for address in outer_addresses(service):
                if address not in self.nodes:
                    self.addresses.add(address, subject, endpoint)
                for port in service.spec.ports or ():  # several Services may share a load balancer's address
                    self.places.add((address, port.port, TRANSPORTS[port.protocol]), subject, endpoint)
            for port in service.spec.ports or ():
                if port.node_port:
                    self.node_ports.add((port.node_port, TRANSPORTS[port.protocol]), subject, endpoint)

    def _add_slices(self, slices: list[EndpointSlice]) -> None:
        bare: list[tuple[str, list[Place], Subject, Endpoint]] = []
        for found in slices:
            service = service_of(found)
            for backend in found.endpoints or ():
                for address in backend.addresses:
                    places = [(address, one.port, TRANSPORTS[one.protocol]) for one in found.ports or () if one.port]
                    if not self._add_target(address, places, service, backend):
                        endpoint = self.names.backend(service, self._uid(service), backend)
                        bare.append((address, places, service, endpoint))
        self._add_bare(bare)
        self._name_headless()

    def _add_target(self, address: str, places: list[Place], service: Subject, backend: SliceEndpoint) -> bool:
        """Enter a backend with an object behind it; return False if there is none."""
        target = backend.target_ref
        if target is None or not target.name:
            return False
        if target.kind != "Pod":
            return target.kind == "Node"  # which has been entered already
        subject = Subject("Pod", target.namespace or service.namespace, target.name)
        self._add_target_pod(address, places, subject, target.uid, backend)
        for place in places:
            self._serving[place].add(service)
        return True

    def _add_target_pod(
        self, address: str, places: list[Place], subject: Subject, uid: str | None, backend: SliceEndpoint
    ) -> None:
        pod = self._pods.get(subject)
        if pod and pod.status.phase in OVER:
            return
        endpoint = self.names.pod(pod) if pod else self.names.pod_in_slice(subject, uid, backend)
        if address in self.nodes or (pod and pod.spec.host_network):
            for place in places:
                self.places.add(place, subject, endpoint)
        elif not pod or not pod_addresses(pod):  # a pod's own object is the authority on its addresses
            self.addresses.add(address, subject, endpoint)

    def _add_bare(self, backends: list[tuple[str, list[Place], Subject, Endpoint]]) -> None:
        """Enter addresses that a Service merely mentions: an owner's own claim goes before."""
        addresses: Claims[str] = Claims()
        mentioned: Claims[Place] = Claims()
        for address, places, service, endpoint in backends:
            if address not in self.addresses:
                addresses.add(address, service, endpoint)
            for place in places:
                self._serving[place].add(service)
                if (address not in self.addresses or address in self.nodes) and place not in self.places:
                    mentioned.add(place, service, endpoint)
        self.addresses.take(addresses)
        self.places.take(mentioned)

    def _name_headless(self) -> None:
        """Say the Service too where a pod's own address and port are what a headless Service offers."""
        for place, services in self._serving.items():
            only = services if len(services) == 1 else services & {API_SERVER}
            holder = self.places.holder(place) or self.addresses.holder(place[0])
            for service in only:
                if holder and holder.subject.kind == "Pod" and self._is_named_by_backends(service):
                    endpoint = self.names.serving(holder.endpoint, service, self._uid(service))
                    self.places.replace(place, holder.subject, endpoint)

    def _is_named_by_backends(self, service: Subject) -> bool:
        found = self._services.get(service)
        return service == API_SERVER or (
            found is not None and "None" in (found.spec.cluster_ip, *(found.spec.cluster_ips or ()))
        )

    def _uid(self, service: Subject) -> str | None:
        found = self._services.get(service)
        return found.metadata.uid or None if found else None


def _of(kind: type[Some], objects: Iterable[KubernetesObject]) -> list[Some]:
    return [one for one in objects if isinstance(one, kind)]


def _subject(kind: str, one: KubernetesObject) -> Subject:
    return Subject(kind, namespace_of(one.metadata), one.metadata.name)


def _kubelets(slices: list[EndpointSlice]) -> Iterator[tuple[str, str]]:
    """Yield (node, address) from slices whose backends are nodes."""
    for found in slices:
        for backend in found.endpoints or ():
            if backend.target_ref and backend.target_ref.kind == "Node" and backend.target_ref.name:
                for address in backend.addresses:
                    yield backend.target_ref.name, address
