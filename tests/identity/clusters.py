"""Objects of a cluster as the API tells them, with times in seconds of the test's own day."""

from typing import Any

from natlens.health import Health
from natlens.identity.index import Index
from natlens.identity.objects import (
    Address,
    Condition,
    Container,
    ContainerPort,
    ContainerState,
    ContainerStatus,
    EndpointConditions,
    EndpointSlice,
    Finished,
    Ip,
    Metadata,
    Moment,
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    Pod,
    PodSpec,
    PodStatus,
    Running,
    Service,
    ServiceAddress,
    ServicePort,
    ServiceSpec,
    SliceEndpoint,
    SlicePort,
    TargetReference,
)
from natlens.identity.settings import IdentitySettings

S = 1_000_000_000
START = 1_700_000_000
"""Second 0 of the test's day, in Unix time."""


def ns(second: float) -> int:
    """Return a time of the day in ns of Unix time."""
    return START * S + round(second * S)


def moment(second: float | None) -> Moment | None:
    """Return a time as Kubernetes writes it: whole seconds, rounded down."""
    return None if second is None else Moment(ns(second) // S * S)


def index(health: Health | None = None, **settings: object) -> Index:
    """Return a live index of node n1."""
    known: dict[str, Any] = {"node_name": "n1", **settings}
    return Index(health or Health(), IdentitySettings(**known))


def pod(
    name: str,
    address: str = "",
    *,
    uid: str = "",
    node: str = "n1",
    begin: float | None = 0,
    started: float | None = None,
    finished: float | None = None,
    deleted: float | None = None,
    ready: float | None = None,
    phase: str = "Running",
    host: int = 0,
    labels: dict[str, str | None] | None = None,
) -> Pod:
    """Return a pod; ``deleted`` is when its deletion was asked for, ``host`` a port at its node's network."""
    state = ContainerState(
        running=Running(moment(started)) if started is not None and finished is None else None,
        terminated=Finished(moment(started), moment(finished)) if finished is not None else None,
    )
    return Pod(
        Metadata(
            name,
            "shop",
            uid or f"u-{name}",
            labels,
            creation_timestamp=moment(begin),
            deletion_timestamp=None if deleted is None else moment(deleted + 30),
            deletion_grace_period_seconds=None if deleted is None else 30,
        ),
        PodSpec(node, bool(host), [Container([ContainerPort(host)])] if host else None),
        PodStatus(
            phase,
            moment(begin),
            None if ready is None else [Condition("Ready", "True", moment(ready))],
            [ContainerStatus(state)] if started is not None or finished is not None else None,
            ServiceAddress(address),
            [Ip(Address(address))] if address else None,
        ),
    )


def service(name: str, address: str, *, uid: str = "", created: float | None = 0, node_port: int = 0) -> Service:
    """Return a Service with port 80."""
    return Service(
        Metadata(name, "shop", uid or f"u-{name}", creation_timestamp=moment(created)),
        ServiceSpec(ServiceAddress(address), ports=[ServicePort(80, node_port=node_port or None)]),
    )


def slice_of(service: str, *endpoints: SliceEndpoint, name: str = "", port: int = 8080) -> EndpointSlice:
    """Return an EndpointSlice of a Service."""
    labels: dict[str, str | None] = {"kubernetes.io/service-name": service}
    return EndpointSlice(
        Metadata(name or f"{service}-1", "shop", labels=labels), "IPv4", [*endpoints], [SlicePort(port)]
    )


def backend(
    address: str, pod: str = "", *, uid: str = "", node: str = "n2", zone: str = "", terminating: bool = False
) -> SliceEndpoint:
    """Return a backend; without a pod nothing stands behind it."""
    target = TargetReference("Pod", pod, "shop", uid or f"u-{pod}") if pod else None
    conditions = EndpointConditions(terminating=terminating)
    return SliceEndpoint([address], conditions, target, node or None, zone or None)


def node(
    name: str, *addresses: str, created: float | None = 0, cidr: str = "", zone: str = "", ovn: bool = False
) -> Node:
    """Return a Node."""
    labels: dict[str, str | None] | None = {"topology.kubernetes.io/zone": zone} if zone else None
    annotations: dict[str, str | None] | None = {"k8s.ovn.org/node-subnets": "{}"} if ovn else None
    return Node(
        Metadata(name, labels=labels, annotations=annotations, creation_timestamp=moment(created)),
        NodeSpec(cidr or None),
        NodeStatus([NodeAddress(one) for one in addresses]),
    )
