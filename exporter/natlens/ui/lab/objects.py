"""The Kubernetes objects of a lab node, as the manifest that ``identity_file`` reads."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["manifest"]

NODE = "node-a"
Service = tuple[Sequence[str], str, int, int, int | None, Sequence[str]]
"""Cluster IPs, protocol, port, target port, node port, names of the backends."""


def _metadata(name: str, **more: object) -> dict[str, Any]:
    return {"name": name, "namespace": "shop", "uid": f"uid-{name}", **more}


def _pod(name: str, addresses: Sequence[str]) -> dict[str, Any]:
    owner = name.rsplit("-", 1)[0]
    references = [{"kind": "StatefulSet", "name": owner, "uid": f"uid-{owner}", "controller": True}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(name, ownerReferences=references),
        "spec": {"nodeName": NODE},
        "status": {"phase": "Running", "podIPs": [{"ip": address} for address in addresses]},
    }


def _service(name: str, service: Service) -> dict[str, Any]:
    addresses, protocol, port, target, node_port, _ = service
    ports = {"protocol": protocol, "port": port, "targetPort": target}
    if node_port:
        ports["nodePort"] = node_port
    spec = {"type": "NodePort" if node_port else "ClusterIP", "clusterIPs": list(addresses), "ports": [ports]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(name), "spec": spec}


def manifest(node: Sequence[str], pods: Mapping[str, Sequence[str]], services: Mapping[str, Service]) -> str:
    """Return the objects as a ``List``: a Node with these addresses, Pods and Services in namespace ``shop``.

    A pod ``web-1`` belongs to the StatefulSet ``web``.
    """
    named = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE, "uid": "uid-node-a", "labels": {"topology.kubernetes.io/zone": "zone-1"}},
        "status": {"addresses": [{"type": "InternalIP", "address": address} for address in node]},
    }
    items = [
        named,
        *(_pod(name, addresses) for name, addresses in pods.items()),
        *(_service(name, service) for name, service in services.items()),
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1)
