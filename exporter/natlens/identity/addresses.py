"""What an object says its own addresses and ports are."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from natlens.flows.tuples import SCTP, TCP, UDP
from natlens.identity.claims import Port, Subject
from natlens.identity.objects import (
    ContainerPort,
    EndpointSlice,
    Metadata,
    Pod,
    Service,
    ServicePort,
    SlicePort,
    canonical,
)

__all__ = [
    "cluster_addresses",
    "host_addresses",
    "host_ports",
    "namespace_of",
    "outer_addresses",
    "pod_addresses",
    "ports_of",
    "service_of",
]

TRANSPORTS = {None: TCP, "TCP": TCP, "UDP": UDP, "SCTP": SCTP}
EVERYWHERE = {"", "0.0.0.0", "::"}  # noqa: S104  # not a bind


def namespace_of(metadata: Metadata) -> str:
    """Return the namespace; an object without one is in ``default``, as kubectl has it."""
    return metadata.namespace or "default"


def pod_addresses(pod: Pod) -> list[str]:
    """Return a pod's own addresses."""
    return _plain(pod.status.pod_ip, *(one.ip for one in pod.status.pod_ips or ()))


def host_addresses(pod: Pod) -> list[str]:
    """Return what a pod tells of its node's addresses."""
    own = pod_addresses(pod) if pod.spec.host_network else []
    return _plain(*own, pod.status.host_ip, *(one.ip for one in pod.status.host_ips or ()))


def host_ports(pod: Pod) -> dict[str, tuple[Port, ...]]:
    """Return where a pod is reached at its node, by the node's address if it is only one ("": at all)."""
    found: defaultdict[str, set[Port]] = defaultdict(set)
    for port in _container_ports(pod):
        number = port.container_port if pod.spec.host_network else port.host_port
        if number:
            only = canonical(port.host_ip or "") or ""
            found["" if only in EVERYWHERE else only].add((number, TRANSPORTS[port.protocol]))
    return {only: tuple(sorted(ports)) for only, ports in found.items()}


def ports_of(ports: Iterable[ServicePort | SlicePort] | None) -> tuple[Port, ...]:
    """Return numbers and protocols; a port without a number is none."""
    return tuple(sorted({(one.port, TRANSPORTS[one.protocol]) for one in ports or () if one.port}))


def cluster_addresses(service: Service) -> list[str]:
    """Return a Service's cluster addresses; none if it is headless."""
    return [one for one in _plain(service.spec.cluster_ip, *(service.spec.cluster_ips or ())) if one != "None"]


def outer_addresses(service: Service) -> list[str]:
    """Return a Service's external addresses and those its load balancers gave."""
    balancer = service.status.load_balancer
    given = [one.ip for one in (balancer.ingress if balancer else None) or ()]
    return _plain(*(service.spec.external_ips or ()), *given)


def service_of(found: EndpointSlice) -> Subject:
    """Return the Service that a slice belongs to; without a name if the slice does not say."""
    name = (found.metadata.labels or {}).get("kubernetes.io/service-name")
    owners = [one.name for one in found.metadata.owner_references or () if one.kind == "Service"]
    return Subject("Service", namespace_of(found.metadata), name or (owners[0] if len(owners) == 1 else ""))


def _container_ports(pod: Pod) -> Iterator[ContainerPort]:
    """Yield the ports that a pod's containers and sidecars declare."""
    sidecars = [one for one in pod.spec.init_containers or () if one.restart_policy == "Always"]
    for container in [*(pod.spec.containers or ()), *sidecars]:
        yield from container.ports or ()


def _plain(*texts: str | None) -> list[str]:
    """Return the texts that are there, each once, as plain strings."""
    return [str(text) for text in dict.fromkeys(texts) if text]
