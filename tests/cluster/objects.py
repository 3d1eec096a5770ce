"""The JSON of Kubernetes objects, as controllers and kubelets write them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from tests.cluster.api import Json
from tests.cluster.services import Port, metadata, without_empty

__all__ = [
    "binding",
    "namespace",
    "node",
    "node_status",
    "now",
    "owner",
    "pod",
    "pod_status",
    "service_account",
]

ZONE = "topology.kubernetes.io/zone"
HOSTNAME = "kubernetes.io/hostname"
KIND_VERSIONS = {"ReplicaSet": "apps/v1", "DaemonSet": "apps/v1", "StatefulSet": "apps/v1", "Job": "batch/v1"}
RUNS, FAILED = 0, 1


def now() -> str:
    """Return the time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def namespace(name: str) -> Json:
    """Return a Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata(name)}


def service_account(name: str, namespace: str) -> Json:
    """Return a ServiceAccount."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(name, namespace)}


def binding(role: str, account: str, namespace: str) -> Json:
    """Return a ClusterRoleBinding: the ServiceAccount may do what the ClusterRole says."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": metadata(role),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }


def node(name: str, pod_cidrs: Sequence[str] = (), *, zone: str = "", labels: Mapping[str, str] | None = None) -> Json:
    """Return a Node; its addresses are in its status."""
    told = without_empty({HOSTNAME: name, ZONE: zone, **(labels or {})})
    ranges = {"podCIDR": pod_cidrs[0], "podCIDRs": list(pod_cidrs)} if pod_cidrs else {}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata(name, labels=told), "spec": ranges}


def node_status(name: str, internal: Sequence[str], external: Sequence[str] = ()) -> Json:
    """Return a Node's status: ready, with these addresses."""
    told = [{"type": "Hostname", "address": name}]
    told += [{"type": "InternalIP", "address": address} for address in internal]
    told += [{"type": "ExternalIP", "address": address} for address in external]
    return {"addresses": told, "conditions": [_condition("Ready")]}


def owner(kind: str, name: str, uid: str = "11111111-2222-3333-4444-555555555555") -> Json:
    """Return the owner reference of a controller."""
    told = {"apiVersion": KIND_VERSIONS[kind], "kind": kind, "name": name, "uid": uid}
    return {**told, "controller": True, "blockOwnerDeletion": True}


def pod(
    name: str,
    node: str,
    namespace: str = "default",
    *,
    labels: Mapping[str, str] | None = None,
    owners: Sequence[Json] = (),
    ports: Sequence[Port] = (),
    host_network: bool = False,
) -> Json:
    """Return a Pod of one container, already scheduled to its node."""
    listens = [
        without_empty({"name": port.name, "containerPort": port.target, "protocol": port.protocol}) for port in ports
    ]
    container = without_empty({"name": "main", "image": "example.com/main:1", "ports": listens})
    spec = without_empty({"nodeName": node, "hostNetwork": host_network or None, "containers": [container]})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata(name, namespace, labels, owners), "spec": spec}


def pod_status(
    pod_ips: Sequence[str], host_ips: Sequence[str], *, started: str, phase: str = "Running", finished: str = ""
) -> Json:
    """Return a Pod's status; with ``finished`` its container has ended then, well if the phase is Succeeded."""
    code = FAILED if phase == "Failed" else RUNS
    ended = {"exitCode": code, "reason": "Error" if code else "Completed", "startedAt": started, "finishedAt": finished}
    state = {"terminated": ended} if finished else {"running": {"startedAt": started}}
    container = {"name": "main", "image": "example.com/main:1", "imageID": "", "restartCount": 0, "state": state}
    ready = not finished
    return {
        "phase": phase,
        "startTime": started,
        "podIP": pod_ips[0],
        "podIPs": [{"ip": ip} for ip in pod_ips],
        "hostIP": host_ips[0],
        "hostIPs": [{"ip": ip} for ip in host_ips],
        "containerStatuses": [{**container, "ready": ready, "started": ready}],
        "conditions": [
            _condition("PodScheduled"),
            *(_condition(kind, holds=ready) for kind in ("Initialized", "ContainersReady", "Ready")),
        ],
    }


def _condition(kind: str, *, holds: bool = True) -> Json:
    return {"type": kind, "status": str(holds), "lastTransitionTime": now()}
