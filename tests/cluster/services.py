"""The JSON of Services and of their EndpointSlices, and what every object has."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tests.cluster.api import Json

__all__ = ["Port", "endpoint", "endpoint_slice", "metadata", "service", "without_empty"]

OF_SERVICE = "kubernetes.io/service-name"


class Port(NamedTuple):
    """A Service's port, what it is on a pod (``target``), and on every node (``node_port``) if the type has that."""

    number: int
    target: int
    protocol: str = "TCP"
    name: str = ""
    node_port: int | None = None


def without_empty(fields: Json) -> Json:
    return {key: value for key, value in fields.items() if value not in (None, "", [], {})}


def metadata(
    name: str, namespace: str = "", labels: Mapping[str, str] | None = None, owners: Sequence[Json] = ()
) -> Json:
    """Return what every object has."""
    told = {"name": name, "namespace": namespace, "labels": dict(labels or {}), "ownerReferences": list(owners)}
    return without_empty(told)


def service(
    name: str,
    ports: Sequence[Port],
    namespace: str = "default",
    *,
    kind: str = "ClusterIP",
    families: Sequence[str] = ("IPv4", "IPv6"),
    cluster_ips: Sequence[str] = (),
    selector: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    **spec: object,
) -> Json:
    """Return a Service; ``spec`` is more of it (``externalIPs``, ``externalTrafficPolicy`` …).

    ``cluster_ips=["None"]`` makes a headless one, ``kind="ExternalName"`` wants no families.
    """
    told = {
        "type": kind,
        "selector": dict(selector or {}),
        "ports": [_service_port(port, ports) for port in ports],
        "ipFamilies": list(families),
        "ipFamilyPolicy": "RequireDualStack" if len(families) > 1 else "SingleStack" if families else "",
        "clusterIP": cluster_ips[0] if cluster_ips else "",
        "clusterIPs": list(cluster_ips),
        **spec,
    }
    described = metadata(name, namespace, labels)
    return {"apiVersion": "v1", "kind": "Service", "metadata": described, "spec": without_empty(told)}


def _service_port(port: Port, ports: Sequence[Port]) -> Json:
    told = {"port": port.number, "targetPort": port.target, "protocol": port.protocol, "nodePort": port.node_port}
    return without_empty({"name": _port_name(port, ports), **told})


def endpoint(
    address: str,
    *,
    pod: Json | None = None,
    node: str = "",
    zone: str = "",
    ready: bool = True,
    serving: bool = True,
    terminating: bool = False,
) -> Json:
    """Return one endpoint; ``pod`` is the Pod behind it, if there is one (then ``node`` need not be given)."""
    told = {
        "addresses": [address],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "nodeName": node,
        "zone": zone,
    }
    if pod is not None:
        named = {key: pod["metadata"][key] for key in ("namespace", "name", "uid")}
        told |= {"targetRef": {"kind": "Pod", **named}, "nodeName": node or pod["spec"]["nodeName"]}
    return without_empty(told)


def endpoint_slice(
    name: str,
    service: str,
    ports: Sequence[Port],
    endpoints: Sequence[Json],
    namespace: str = "default",
    *,
    family: str = "IPv4",
) -> Json:
    """Return an EndpointSlice of a Service; its ports are named as :func:`service` names them."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata(name, namespace, {OF_SERVICE: service}),
        "addressType": family,
        "ports": [{"name": _port_name(port, ports), "port": port.target, "protocol": port.protocol} for port in ports],
        "endpoints": list(endpoints),
    }


def _port_name(port: Port, ports: Sequence[Port]) -> str:
    """Return its name; where there are several, each must have one."""
    return port.name or (f"{port.protocol}-{port.number}".lower() if len(ports) > 1 else "")
