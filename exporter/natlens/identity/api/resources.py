"""What is asked for: paths, selectors, and what is lost without it."""

from dataclasses import dataclass

from natlens.identity.objects import EndpointSlice, KubernetesObject, Node, Pod, Service

__all__ = ["ALL_NODES", "ALL_PODS", "SERVICES", "SLICES", "Resource", "own_node", "pods_at", "pods_on"]


@dataclass(frozen=True)
class Resource:
    """One collection of the API, or the part of it that a field selector leaves."""

    label: str
    """Its name in counters and messages."""
    kind: type[KubernetesObject]
    path: str
    lost: str
    """What is missing without it, as the beginning of a sentence."""
    selector: str = ""
    whole: bool = True
    """What a list does not have is gone; else another list decides that."""

    @property
    def right(self) -> str:
        """Return what a role has to allow, as RBAC has it."""
        group = self.path.split("/")[2] if self.path.startswith("/apis/") else ""
        return f'list and watch on {self.path.rpartition("/")[2]} (apiGroup "{group}")'


SERVICES = Resource("services", Service, "/api/v1/services", "Services have no names")
SLICES = Resource(
    "endpointslices",
    EndpointSlice,
    "/apis/discovery.k8s.io/v1/endpointslices",
    "pods of other nodes and their Services have no names",
)
ALL_PODS = Resource("pods", Pod, "/api/v1/pods", "pods have no names")
ALL_NODES = Resource("nodes", Node, "/api/v1/nodes", "other nodes have no names")


def pods_on(node: str) -> Resource:
    """Return the pods of one node."""
    return Resource("pods", Pod, ALL_PODS.path, "this node's pods have no names", f"spec.nodeName={node}")


def own_node(name: str) -> Resource:
    """Return one Node."""
    return Resource(
        "node", Node, ALL_NODES.path, "this node's addresses and zone are unknown", f"metadata.name={name}", False
    )


def pods_at(address: str) -> Resource:
    """Return the pods of one address, which only the pod's own can be (``status.podIP``)."""
    return Resource("lookup", Pod, ALL_PODS.path, "pods that were asked for have no names", f"status.podIP={address}")
