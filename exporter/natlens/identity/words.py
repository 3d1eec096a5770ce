"""What an object says, in the form in which the index remembers it."""

from collections.abc import Iterator
from sys import intern
from typing import NamedTuple

from natlens.identity.addresses import (
    cluster_addresses,
    host_addresses,
    host_ports,
    namespace_of,
    outer_addresses,
    pod_addresses,
    ports_of,
    service_of,
)
from natlens.identity.claims import Port, Role, Statement, Subject
from natlens.identity.intervals import END, SECOND
from natlens.identity.lifetimes import OVER, pod_began, pod_ended, pod_proved, pod_yields
from natlens.identity.objects import (
    OVN_SUBNETS,
    ZONE,
    EndpointSlice,
    KubernetesObject,
    Node,
    Pod,
    Service,
    SliceEndpoint,
    canonical,
)
from natlens.identity.owner import Owner, owner_of
from natlens.identity.selection import Selected, Selection

__all__ = [
    "API_SERVER",
    "About",
    "AboutNode",
    "AboutPod",
    "AboutService",
    "AboutSlice",
    "Word",
    "subject_of",
    "word",
]

API_SERVER = Subject("Service", "default", "kubernetes")


class AboutPod(NamedTuple):
    """What names a pod beside itself."""

    node: str
    host_network: bool
    over: bool
    addressed: bool
    proved_ns: int
    """When it last surely had its addresses, by its containers' starts; BEGIN: it does not say."""
    owner: Owner | None
    selected: Selected


class AboutService(NamedTuple):
    """What names a Service beside itself."""

    headless: bool
    selected: Selected


class AboutNode(NamedTuple):
    """What names a node beside itself."""

    zone: str
    networks: tuple[str, ...]
    """Its podCIDRs."""
    ovn: bool
    """It runs OVN-Kubernetes."""
    selected: Selected


class AboutSlice(NamedTuple):
    """Whose slice it is."""

    service: Subject
    nodes: frozenset[str]


About = AboutPod | AboutService | AboutNode | AboutSlice


class Word(NamedTuple):
    """All that matters of an object as it stood at one time."""

    subject: Subject
    uid: str
    created_ns: int | None
    about: About
    statements: dict[Statement, bool]
    """Each with whether its subject is terminating."""
    since: int | None = None
    sure_since: int | None = None
    ended: tuple[int, int] | None = None
    """Surely until, no later than."""
    yields: int = END


def subject_of(one: KubernetesObject) -> Subject:
    """Return the object's kind and name; a Node has no namespace."""
    kind = type(one).__name__
    return Subject(kind, "" if kind == "Node" else intern(namespace_of(one.metadata)), one.metadata.name)


def word(one: KubernetesObject, selection: Selection) -> Word:
    """Return what an object says."""
    subject = subject_of(one)
    match one:
        case Pod():
            return _pod(one, subject, selection)
        case Service():
            return _service(one, subject, selection)
        case EndpointSlice():
            return _slice(one, subject)
        case Node():
            return _node(one, subject, selection)


def _pod(pod: Pod, subject: Subject, selection: Selection) -> Word:
    since, sure_since = pod_began(pod)
    about = AboutPod(
        node=intern(pod.spec.node_name or ""),
        host_network=bool(pod.spec.host_network),
        over=pod.status.phase in OVER,
        addressed=bool(pod_addresses(pod)),
        proved_ns=pod_proved(pod),
        owner=owner_of(pod.metadata),
        selected=selection.of("pod", pod.metadata),
    )
    uid = pod.metadata.uid or ""
    statements = dict.fromkeys(_pod_statements(pod, subject, uid, about), False)
    created = pod.metadata.creation_timestamp
    return Word(subject, uid, created, about, statements, since, sure_since, pod_ended(pod), pod_yields(pod))


def _pod_statements(pod: Pod, subject: Subject, uid: str, about: AboutPod) -> Iterator[Statement]:
    if not about.host_network:
        for address in pod_addresses(pod):
            yield Statement(Role.POD, address, subject, uid, about.node)
    if about.node:  # a pod tells its node's addresses too
        for address in host_addresses(pod):
            yield Statement(Role.NODE, address, Subject("Node", "", about.node))
    for only, ports in host_ports(pod).items():
        for address in [""] if about.node else host_addresses(pod):
            yield Statement(Role.HOST, address, subject, uid, about.node, "", ports, only)


def _service(service: Service, subject: Subject, selection: Selection) -> Word:
    addresses = {service.spec.cluster_ip, *(service.spec.cluster_ips or ())}
    about = AboutService("None" in addresses, selection.of("service", service.metadata))
    created = service.metadata.creation_timestamp
    statements = dict.fromkeys(_service_statements(service, subject), False)
    return Word(subject, service.metadata.uid or "", created, about, statements, created, _second_after(created))


def _service_statements(service: Service, subject: Subject) -> Iterator[Statement]:
    uid, ports = service.metadata.uid or "", ports_of(service.spec.ports)
    for address in cluster_addresses(service):
        yield Statement(Role.CLUSTER, address, subject, uid)
    for address in outer_addresses(service):  # several Services may share a load balancer's address
        yield Statement(Role.OUTER, address, subject, uid, ports=ports)
    if node_ports := _node_ports(service):
        yield Statement(Role.NODE_PORT, "", subject, uid, ports=node_ports)


def _node_ports(service: Service) -> tuple[Port, ...]:
    named = [(one.node_port, transport) for one in service.spec.ports or () for _, transport in ports_of([one])]
    return tuple(sorted({(port, transport) for port, transport in named if port}))


def _node(node: Node, subject: Subject, selection: Selection) -> Word:
    cidrs = [node.spec.pod_cidr, *(node.spec.pod_cidrs or ())]
    about = AboutNode(
        zone=intern((node.metadata.labels or {}).get(ZONE) or ""),
        networks=tuple(dict.fromkeys(cidr for cidr in cidrs if cidr)),
        ovn=OVN_SUBNETS in (node.metadata.annotations or {}),
        selected=selection.of("node", node.metadata),
    )
    addresses = [canonical(one.address) for one in node.status.addresses or ()]
    statements = {Statement(Role.NODE, address, subject): False for address in addresses if address}
    created = node.metadata.creation_timestamp
    return Word(subject, node.metadata.uid or "", created, about, statements, created, _second_after(created))


def _slice(found: EndpointSlice, subject: Subject) -> Word:
    service, ports = service_of(found), ports_of(found.ports)
    statements: dict[Statement, bool] = {}
    for backend in found.endpoints or ():
        terminating = bool(backend.conditions and backend.conditions.terminating)
        for address in backend.addresses:
            statements[_backend(str(address), ports, service, backend)] = terminating
    nodes = frozenset(intern(one.node_name) for one in found.endpoints or () if one.node_name)
    return Word(subject, found.metadata.uid or "", None, AboutSlice(service, nodes), statements)


def _backend(address: str, ports: tuple[Port, ...], service: Subject, backend: SliceEndpoint) -> Statement:
    node, zone = intern(backend.node_name or ""), intern(backend.zone or "")
    target = backend.target_ref
    if target is None or not target.name or target.kind not in {"Pod", "Node"}:
        return Statement(Role.BARE, address, service, "", node, zone, ports)
    if target.kind == "Node":
        return Statement(Role.NODE, address, Subject("Node", "", target.name))
    pod = Subject("Pod", intern(target.namespace or service.namespace), target.name)
    return Statement(Role.TARGET, address, pod, target.uid or "", node, zone, ports)


def _second_after(time: int | None) -> int | None:
    return None if time is None else time + SECOND
