"""The parts of Kubernetes objects that name addresses, in the shape that the API gives them.

Field names are the API's (camel case); ``null`` means absent, as the API server itself has it.
Everything else in an object is ignored. ``gc=False``: they have no cycles, and a list of 20,000 takes twice as long
where the garbage collector looks at each.
"""

import ipaddress
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

__all__ = [
    "OVN_SUBNETS",
    "ZONE",
    "Address",
    "Condition",
    "Container",
    "ContainerPort",
    "ContainerState",
    "ContainerStatus",
    "EndpointConditions",
    "EndpointSlice",
    "Finished",
    "KubernetesObject",
    "Metadata",
    "Moment",
    "Node",
    "NodeAddress",
    "NodeSpec",
    "NodeStatus",
    "OwnerReference",
    "Pod",
    "PodSpec",
    "PodStatus",
    "Running",
    "Service",
    "ServiceAddress",
    "SliceEndpoint",
    "canonical",
    "decode_special",
]

Name = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Protocol = Literal["TCP", "UDP", "SCTP"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONE = "topology.kubernetes.io/zone"
"""The label that tells a node's zone."""
OVN_SUBNETS = "k8s.ovn.org/node-subnets"
"""The annotation that tells a node of OVN-Kubernetes."""


class Address(str):
    """An IP address in canonical text (RFC 5952; IPv4-mapped as IPv4)."""

    __slots__ = ()


class ServiceAddress(str):
    """As :class:`Address`, or empty where there is none yet, or ``None``: the API's word for headless."""

    __slots__ = ()


class Moment(int):
    """A time of the API (RFC 3339, whole seconds as a rule), in ns of Unix time."""

    __slots__ = ()


def canonical(text: str) -> str | None:
    """Return the canonical text of an IP address, None if it is not one."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def decode_special(kind: type, value: Any) -> Any:  # msgspec's dec_hook
    """Decode the two address types and times; to be given to msgspec as ``dec_hook``."""
    if kind is Moment:
        return _moment(value)
    if not isinstance(value, str):
        raise TypeError("Expected an IP address in quotes")
    if kind is ServiceAddress and value in {"", "None"}:
        return ServiceAddress(value)
    address = canonical(value)
    if address is None:
        raise ValueError(f"{value[:60]!r} is not an IP address")
    return kind(address)


def _moment(value: object) -> Moment:
    """Return a time from its text, or from what YAML makes of one without quotes."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise TypeError("Expected a time such as 2026-11-25T14:00:00Z")
    since = (value if value.tzinfo else value.replace(tzinfo=UTC)) - EPOCH
    return Moment(((since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds) * 1000)


class OwnerReference(Struct, gc=False):
    """Who made an object."""

    kind: Name
    name: Name
    controller: bool | None = None


class Metadata(Struct, rename="camel", gc=False):
    """What every object has."""

    name: Name
    namespace: str | None = None
    uid: str | None = None
    labels: dict[str, str | None] | None = None
    annotations: dict[str, str | None] | None = None
    owner_references: list[OwnerReference] | None = None
    creation_timestamp: Moment | None = None
    deletion_timestamp: Moment | None = None
    """When it will be gone: the request for its deletion and the grace period."""
    deletion_grace_period_seconds: int | None = None
    resource_version: str | None = None


class ContainerPort(Struct, rename="camel", gc=False):
    """A port that a container declares."""

    container_port: Port
    host_port: Port | None = None
    host_ip: str | None = field(default=None, name="hostIP")
    protocol: Protocol | None = None


class Container(Struct, rename="camel", gc=False):
    """A container, or a sidecar among the init containers (restartPolicy Always)."""

    ports: list[ContainerPort] | None = None
    restart_policy: str | None = None


class PodSpec(Struct, rename="camel", gc=False):
    """Where a pod runs and what it listens on."""

    node_name: str | None = None
    host_network: bool | None = None
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None


class Ip(Struct, gc=False):
    """One address in a list of addresses."""

    ip: Address


class Running(Struct, rename="camel", gc=False):
    """A container that runs."""

    started_at: Moment | None = None


class Finished(Struct, rename="camel", gc=False):
    """A container that ran."""

    started_at: Moment | None = None
    finished_at: Moment | None = None


class ContainerState(Struct, gc=False):
    """At most one of these; none while it waits."""

    running: Running | None = None
    terminated: Finished | None = None


class ContainerStatus(Struct, gc=False):
    """How a container stands."""

    state: ContainerState | None = None


class Condition(Struct, rename="camel", gc=False):
    """One condition of a pod."""

    type: str | None = None
    status: str | None = None
    last_transition_time: Moment | None = None


class PodStatus(Struct, rename="camel", gc=False):
    """A pod's addresses and whether it still has them."""

    phase: str | None = None
    start_time: Moment | None = None
    """When the kubelet took it up: before it had an address."""
    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    pod_ip: ServiceAddress | None = field(default=None, name="podIP")
    pod_ips: list[Ip] | None = field(default=None, name="podIPs")
    host_ip: ServiceAddress | None = field(default=None, name="hostIP")
    host_ips: list[Ip] | None = field(default=None, name="hostIPs")


class Pod(Struct, gc=False):
    """A pod."""

    metadata: Metadata
    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)


class ServicePort(Struct, rename="camel", gc=False):
    """A port of a Service."""

    port: Port
    protocol: Protocol | None = None
    node_port: Port | None = None


class ServiceSpec(Struct, rename="camel", gc=False):
    """A Service's own addresses and ports."""

    cluster_ip: ServiceAddress | None = field(default=None, name="clusterIP")
    cluster_ips: list[ServiceAddress] | None = field(default=None, name="clusterIPs")
    external_ips: list[Address] | None = field(default=None, name="externalIPs")
    ports: list[ServicePort] | None = None


class Ingress(Struct, gc=False):
    """One way in through a load balancer; some have only a host name."""

    ip: ServiceAddress | None = None


class LoadBalancer(Struct, gc=False):
    """What a load balancer gave."""

    ingress: list[Ingress] | None = None


class ServiceStatus(Struct, rename="camel", gc=False):
    """A Service's status."""

    load_balancer: LoadBalancer | None = None


class Service(Struct, gc=False):
    """A Service."""

    metadata: Metadata
    spec: ServiceSpec = field(default_factory=ServiceSpec)
    status: ServiceStatus = field(default_factory=ServiceStatus)


class TargetReference(Struct, gc=False):
    """The object behind a slice's address."""

    kind: str | None = None
    name: str | None = None
    namespace: str | None = None
    uid: str | None = None


class EndpointConditions(Struct, gc=False):
    """Whether a backend is sent to; absent means yes to the first two."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class SliceEndpoint(Struct, rename="camel", gc=False):
    """Addresses of one backend."""

    addresses: list[str]
    conditions: EndpointConditions | None = None
    target_ref: TargetReference | None = None
    node_name: str | None = None
    zone: str | None = None


class SlicePort(Struct, gc=False):
    """A port of every backend in the slice; without a number it means all ports."""

    port: Port | None = None
    protocol: Protocol | None = None


class EndpointSlice(Struct, rename="camel", gc=False):
    """Backends of a Service."""

    metadata: Metadata
    address_type: str | None = None
    endpoints: list[SliceEndpoint] | None = None
    ports: list[SlicePort] | None = None


class NodeAddress(Struct, gc=False):
    """An address or host name of a node."""

    address: str


class NodeSpec(Struct, rename="camel", gc=False):
    """What a node gives to its pods."""

    pod_cidr: str | None = field(default=None, name="podCIDR")
    pod_cidrs: list[str] | None = field(default=None, name="podCIDRs")


class NodeStatus(Struct, gc=False):
    """A node's addresses."""

    addresses: list[NodeAddress] | None = None


class Node(Struct, gc=False):
    """A node."""

    metadata: Metadata
    spec: NodeSpec = field(default_factory=NodeSpec)
    status: NodeStatus = field(default_factory=NodeStatus)


KubernetesObject = Pod | Service | EndpointSlice | Node
