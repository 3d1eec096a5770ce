"""How each end of a call must be named: attributes without the role before them."""

from collections.abc import Mapping
from typing import Any

from tests.cluster.api import Json
from tests.cluster.cluster import Cluster
from tests.cluster.nodes import ClusterNode
from tests.cluster.pods import ClusterPod

__all__ = ["EXTERNAL", "Names", "apiserver", "gateway", "node", "pod", "service", "stranger"]

Names = Mapping[str, Any]
"""What an end is; ``address`` too where the test knows it. What is None must not be said."""
EXTERNAL: Names = {"k8s.object.kind": "external"}


def _zone(of: ClusterNode) -> str:
    """Return the zone that the tests' cluster gives a node."""
    return f"zone-{of.number}"


def pod(one: ClusterPod, family: int = 4, **more: Any) -> Names:
    """Return how a pod is named; ``more`` is written with ``__`` for a dot."""
    return {
        "address": one.ip if family == 4 else one.ip6,
        "k8s.namespace.name": one.thing["metadata"]["namespace"],
        "k8s.pod.name": one.name,
        "k8s.pod.uid": one.uid,
        "k8s.node.name": one.node.name,
        "k8s.object.kind": "pod",
        "cloud.availability_zone": _zone(one.node),
        **_dotted(more),
    }


def stranger(one: ClusterPod, family: int = 4) -> Names:
    """Return how a pod of another node is named that is in no Service: its node has the network that it is in."""
    address = one.ip if family == 4 else one.ip6
    return {"address": address, "k8s.node.name": one.node.name, "cloud.availability_zone": _zone(one.node)}


def gateway(of: ClusterPod, family: int = 4) -> Names:
    """Return how the node's end of a pod's link is named, behind which calls to the pod may be masqueraded."""
    return {**stranger(of), "address": of.lab.gateway if family == 4 else of.lab.gateway6}


def service(one: Json, **more: Any) -> Names:
    """Return how a Service is named."""
    metadata = one["metadata"]
    return {
        "k8s.namespace.name": metadata["namespace"],
        "k8s.service.name": metadata["name"],
        "k8s.service.uid": metadata["uid"],
        "k8s.object.kind": "service",
        **_dotted(more),
    }


def apiserver(cluster: Cluster) -> Names:
    """Return how the API server is named, by its Service's address and by its own."""
    uid = cluster.admin.get("/api/v1/namespaces/default/services/kubernetes")["metadata"]["uid"]
    named = {"k8s.namespace.name": "default", "k8s.service.name": "kubernetes", "k8s.service.uid": uid}
    return {**named, "k8s.object.kind": "apiserver"}


def node(one: ClusterNode, family: int = 4, **more: Any) -> Names:
    """Return how a node is named."""
    return {
        "address": one.ip if family == 4 else one.ip6,
        "k8s.node.name": one.name,
        "k8s.object.kind": "node",
        "cloud.availability_zone": _zone(one),
        **_dotted(more),
    }


def _dotted(names: Names) -> Names:
    """Return names with dots for ``__``."""
    return {name.replace("__", "."): value for name, value in names.items()}
