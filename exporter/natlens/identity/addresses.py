"""What an object says its own addresses and ports are."""

from collections.abc import Iterator

from natlens.identity.claims import Subject
from natlens.identity.named import namespace_of
from natlens.identity.objects import ContainerPort, EndpointSlice, Pod, Service

__all__ = ["cluster_addresses", "container_ports", "host_addresses", "outer_addresses", "pod_addresses", "service_of"]


def pod_addresses(pod: Pod) -> set[str]:
    """Return a pod's own addresses."""
    return {text for text in (pod.status.pod_ip, *(one.ip for one in pod.status.pod_ips or ())) if text}


def host_addresses(pod: Pod) -> set[str]:
    """Return what a pod tells of its node's addresses."""
    own = pod_addresses(pod) if pod.spec.host_network else set()
    return own | {text for text in (pod.status.host_ip, *(one.ip for one in pod.status.host_ips or ())) if text}


def container_ports(pod: Pod) -> Iterator[ContainerPort]:
    """Yield the ports that a pod's containers and sidecars declare."""
    sidecars = [one for one in pod.spec.init_containers or () if one.restart_policy == "Always"]
    for container in [*(pod.spec.containers or ()), *sidecars]:
        yield from container.ports or ()


def cluster_addresses(service: Service) -> set[str]:
    """Return a Service's cluster addresses; none if it is headless."""
    return {text for text in (service.spec.cluster_ip, *(service.spec.cluster_ips or ())) if text and text != "None"}


def outer_addresses(service: Service) -> set[str]:
    """Return a Service's external addresses and those its load balancers gave."""
    balancer = service.status.load_balancer
    given = [one.ip for one in (balancer.ingress if balancer else None) or ()]
    return {text for text in (*(service.spec.external_ips or ()), *given) if text}


def service_of(found: EndpointSlice) -> Subject:
    """Return the Service that a slice belongs to; without a name if the slice does not say."""
    name = (found.metadata.labels or {}).get("kubernetes.io/service-name")
    owners = [one.name for one in found.metadata.owner_references or () if one.kind == "Service"]
    return Subject("Service", namespace_of(found.metadata), name or (owners[0] if len(owners) == 1 else ""))
