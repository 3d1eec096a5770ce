"""Objects of the API for the tests, in the shape of its JSON, and random ones of every kind."""

from typing import Any

from hypothesis import strategies as st
from tests.identity.api.encode import Manifest

__all__ = ["KINDS", "manifests", "node", "pod", "service", "slice_of"]


def pod(name: str, address: str = "10.0.0.1", node: str = "n1", **metadata: Any) -> Manifest:
    """Return a running pod."""
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", **metadata},
        "spec": {"nodeName": node, "containers": [{"name": "c", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    }


def service(name: str, address: str = "10.96.0.1") -> Manifest:
    """Return a Service of one port."""
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": address, "clusterIPs": [address], "ports": [{"port": 80, "protocol": "TCP"}]},
        "status": {"loadBalancer": {}},
    }


def slice_of(name: str, addresses: list[str]) -> Manifest:
    """Return a slice with a backend for each address."""
    return {
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": "s"}},
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [one],
                "conditions": {"ready": True},
                "nodeName": "n1",
                "targetRef": {"kind": "Pod", "name": f"p-{one}", "namespace": "default"},
            }
            for one in addresses
        ],
        "ports": [{"port": 80, "protocol": "TCP"}],
    }


def node(name: str) -> Manifest:
    """Return a Node."""
    return {
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": "z1"}},
        "spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
    }


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
KEY = st.sampled_from(["app", "pod-template-hash", "kubernetes.io/service-name", "other", "big"])
ADDRESS = st.ip_addresses().map(str)
LOUD = st.ip_addresses(v=6).map(lambda address: address.exploded.upper())  # not canonical
PORT = st.integers(0, 65535)
TIME = st.datetimes().map(lambda time: time.replace(microsecond=0).isoformat() + "Z")
PROTOCOL = st.sampled_from(["TCP", "UDP", "SCTP"])


def _maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Manifest]:
    """Return dicts of any of the fields: what Go's omitempty leaves out when it is zero."""
    present = {
        name: values.filter(lambda value: value not in (0, "", [], {}, False)) for name, values in fields.items()
    }
    return st.fixed_dictionaries({}, optional=present)


def _pointers(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Manifest]:
    """Return dicts of any of the fields, zero or not."""
    return st.fixed_dictionaries({}, optional=fields)


def _always(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Manifest]:
    return st.fixed_dictionaries(fields)


def _join(*parts: st.SearchStrategy[Manifest]) -> st.SearchStrategy[Manifest]:
    return st.tuples(*parts).map(lambda dicts: {name: value for one in dicts for name, value in one.items()})


def _some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, max_size=3)


MAPPING = st.dictionaries(KEY, st.one_of(st.just(""), TEXT, st.integers(300, 600).map("é".__mul__)), max_size=4)
OWNER = _join(_always(kind=TEXT, name=TEXT), _pointers(controller=st.booleans()))
METADATA = _join(
    _always(name=TEXT, creationTimestamp=st.none() | TIME),
    _maybe(namespace=TEXT, uid=TEXT, labels=MAPPING, annotations=MAPPING, ownerReferences=_some(OWNER)),
    _maybe(resourceVersion=st.integers(1, 1 << 62).map(str)),
    _pointers(deletionTimestamp=TIME, deletionGracePeriodSeconds=st.integers(0, 1 << 40)),
)
CONTAINER_PORT = _join(_always(containerPort=PORT), _maybe(hostPort=PORT, hostIP=ADDRESS, protocol=PROTOCOL))
CONTAINER = _join(_maybe(ports=_some(CONTAINER_PORT)), _pointers(restartPolicy=st.just("Always")))
RUNNING = _always(startedAt=st.none() | TIME)
ENDED = _always(startedAt=st.none() | TIME, finishedAt=st.none() | TIME)
STATE: st.SearchStrategy[Manifest] = st.one_of(st.just({}), _always(running=RUNNING), _always(terminated=ENDED))
CONDITION = _always(type=TEXT, status=TEXT, lastTransitionTime=st.none() | TIME)
IPS = _some(_always(ip=ADDRESS | LOUD))
POD = _always(
    metadata=METADATA,
    spec=_join(
        _always(containers=st.none() | _some(CONTAINER)),
        _maybe(nodeName=TEXT, hostNetwork=st.booleans(), initContainers=_some(CONTAINER)),
    ),
    status=_join(
        _maybe(phase=TEXT, conditions=_some(CONDITION), containerStatuses=_some(_always(state=STATE))),
        _maybe(podIP=ADDRESS | LOUD, podIPs=IPS, hostIP=ADDRESS, hostIPs=IPS),
        _pointers(startTime=TIME),
    ),
)
SERVICE = _always(
    metadata=METADATA,
    spec=_join(
        _maybe(
            clusterIP=ADDRESS | st.just("None"), clusterIPs=_some(ADDRESS | st.just("None")), externalIPs=_some(LOUD)
        ),
        _maybe(ports=_some(_join(_always(port=PORT), _maybe(protocol=PROTOCOL, nodePort=PORT)))),
    ),
    status=_always(loadBalancer=_maybe(ingress=_some(_maybe(ip=ADDRESS | LOUD)))),
)
ENDPOINT = _join(
    _always(addresses=_some(ADDRESS | LOUD)),
    _always(conditions=_pointers(ready=st.booleans(), serving=st.booleans(), terminating=st.booleans())),
    _pointers(targetRef=_maybe(kind=TEXT, name=TEXT, namespace=TEXT, uid=TEXT), nodeName=TEXT | st.just(""), zone=TEXT),
)
SLICE = _always(
    metadata=METADATA,
    addressType=st.sampled_from(["IPv4", "IPv6"]),
    endpoints=st.none() | _some(ENDPOINT),
    ports=st.none() | _some(_pointers(port=PORT, protocol=PROTOCOL)),
)
NAMES = _join(
    SLICE, _always(addressType=st.just("FQDN"), endpoints=_some(_always(addresses=_some(TEXT), conditions=st.just({}))))
)
NODE = _always(
    metadata=METADATA,
    spec=_maybe(podCIDR=TEXT, podCIDRs=_some(TEXT)),
    status=_maybe(addresses=_some(_always(type=TEXT, address=TEXT))),
)
KINDS = {"Pod": POD, "Service": SERVICE, "EndpointSlice": SLICE | NAMES, "Node": NODE}


def manifests() -> st.SearchStrategy[tuple[str, Manifest]]:
    """Return (kind, object)s as the API server has them."""
    return st.one_of(*(st.tuples(st.just(kind), values) for kind, values in KINDS.items()))
