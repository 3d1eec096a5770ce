"""A large cluster's objects: pods of many nodes, in both families, each behind one Service; and how they change.

Services and Nodes are created through the API. There a pod takes two requests, one of them for its status, and 20,000
pods four minutes: they and their EndpointSlices are put into etcd, as JSON, which the API server reads as well as its
own protobuf.
"""

import base64
import http.client
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import Self, TypeVar

from natlens.ui.lab.namespaces import Namespace
from tests.cluster import objects, services
from tests.cluster.api import Api, Json
from tests.cluster.api_server import ADMIN, ApiServer
from tests.cluster.control import ControlPlane
from tests.cluster.etcd import CLIENTS, HOST
from tests.cluster.server import connect
from tests.cluster.services import Port

__all__ = ["HOME_EACH", "TICK", "Crowd", "Store", "change", "heartbeats", "marker", "send"]

One = TypeVar("One")
WORKERS = 8
WEB = Port(80, 8080, name="http")
FAMILIES = "IPv4", "IPv6"
SPACES, ZONES = 50, 3
PIECE = 100  # etcd takes 128 in one transaction
LETTERS = "bcdfghjklmnpqrstvwxz2456789"
HASH = "7d4b9c6f5"
BORN = "2026-01-01T00:00:00Z"
TICK = "tick"
"""The label that says when a pod changed: ns of the monotonic clock."""
HOME_EACH = 10
"""Every tenth change is one of the home node's pods; by chance it were every 200th."""
REGISTRY = {"Pod": "pods", "EndpointSlice": "endpointslices", "Node": "minions"}


@dataclass(frozen=True)
class Crowd:
    """So many of each; the first node is ``home``, which is there already and gets its share of the pods."""

    home: str
    nodes: int = 200
    pods: int = 20_000
    services: int = 2_000
    """Each has an EndpointSlice of each family, for the same pods."""

    def populate(self, control: ControlPlane) -> None:
        """Make everything."""
        send(control.api, (objects.namespace(self.space(n)) for n in range(SPACES)), Api.create)
        with Store(control.etcd.namespace) as store:
            store.put(self.pod(n) for n in range(self.pods))
            store.put(one for n in range(self.services) for one in self.slices(n))
        send(control.api, range(1, self.nodes), self._make_node)
        send(control.api, (self.service(n) for n in range(self.services)), Api.create)

    def node_name(self, number: int) -> str:
        """Return the name of a node."""
        return f"crowd-{number}" if number else self.home

    @staticmethod
    def space(number: int) -> str:
        """Return the namespace of the n-th Service, and of its pods."""
        return f"team-{number % SPACES}"

    def addresses(self, pod: int) -> tuple[str, str]:
        """Return a pod's addresses, one of each family."""
        low, node = divmod(pod, self.nodes)
        return f"10.{64 + (node >> 8)}.{node & 255}.{low + 2}", f"fd00:64:{node + 1:x}::{low + 2:x}"

    def of(self, service: int) -> range:
        """Return the pods of a Service."""
        return range(service, self.pods, self.services)

    def pod(self, number: int, *, ready: bool = True, labels: Json | None = None) -> Json:
        """Return a Pod as etcd has it."""
        of, node = number % self.services, self.node_name(number % self.nodes)
        owner = objects.owner("ReplicaSet", f"checkout-{of}-{HASH}", _uid(of))
        told = {"app": f"checkout-{of}", "pod-template-hash": HASH, **(labels or {})}
        pod = objects.pod(_pod_name(number, of), node, self.space(of), labels=told, owners=[owner], ports=[WEB])
        pod["metadata"] |= {"uid": _uid(number), "creationTimestamp": BORN}
        pod["status"] = objects.pod_status(self.addresses(number), ["192.0.3.1"], started=BORN)
        for one in pod["status"]["conditions"]:
            one |= {"status": str(ready or one["type"] != "Ready"), "lastTransitionTime": BORN}
        return pod

    def service(self, number: int) -> Json:
        """Return a Service in both families."""
        return services.service(f"checkout-{number}", [WEB], self.space(number), selector={"app": f"checkout-{number}"})

    def slices(self, service: int, unready: Sequence[int] = (), more: Sequence[Json] = ()) -> list[Json]:
        """Return a Service's EndpointSlices as etcd has them; the first has ``more`` endpoints."""
        made = []
        for index, family in enumerate(FAMILIES):
            ends = [self._end(pod, index, ready=pod not in unready) for pod in self.of(service)]
            name, of = f"checkout-{service}-{family.lower()}", f"checkout-{service}"
            ends += () if index else more
            one = services.endpoint_slice(name, of, [WEB], ends, self.space(service), family=family)
            one["metadata"] |= {"uid": _uid(index << 24 | service), "creationTimestamp": BORN}
            made.append(one)
        return made

    def _end(self, pod: int, family: int, *, ready: bool) -> Json:
        of, node = pod % self.services, pod % self.nodes
        target = {"kind": "Pod", "namespace": self.space(of), "name": _pod_name(pod, of), "uid": _uid(pod)}
        zone = f"zone-{node % ZONES}"
        end = services.endpoint(self.addresses(pod)[family], node=self.node_name(node), zone=zone, ready=ready)
        return {**end, "targetRef": target}

    def _make_node(self, api: Api, number: int) -> None:
        name = self.node_name(number)
        ranges = [f"10.{64 + (number >> 8)}.{number & 255}.0/24", f"fd00:64:{number + 1:x}::/64"]
        node = objects.node(name, ranges, zone=f"zone-{number % ZONES}")
        api.create(node)
        api.patch(node, {"status": objects.node_status(name, [f"192.0.3.{number}"])}, "status")


class Store:
    """Writes objects into etcd where the API server keeps them; a context manager."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._connection: http.client.HTTPConnection | None = None

    def put(self, many: Iterable[Json]) -> None:
        """Write objects, several at one revision: for what nobody watches yet."""
        rest = iter(many)
        while piece := list(islice(rest, PIECE)):
            self._ask("txn", {"success": [{"requestPut": _entry(one)} for one in piece]})

    def put_one(self, one: Json) -> None:
        """Write an object at a revision of its own."""
        self._ask("put", _entry(one))

    def _ask(self, method: str, message: Json) -> None:
        assert self._connection
        self._connection.request("POST", f"/v3/kv/{method}", json.dumps(message))
        answer = self._connection.getresponse()
        told = answer.read()
        assert answer.status == http.client.OK, told

    def __enter__(self) -> Self:
        self._connection = connect(self._namespace, HOST, CLIENTS)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._connection
        self._connection.close()


def change(namespace: Namespace, crowd: Crowd, count: int, per_second: float) -> None:
    """Let pods change, and as often an end of a Service: both its EndpointSlices, one with a :func:`marker` as well."""
    home = range(0, crowd.pods, crowd.nodes)
    begin = time.monotonic()
    with Store(namespace) as store:
        for number in range(count):
            time.sleep(max(begin + number / per_second - time.monotonic(), 0))
            pod, service, ready = number * 7919 % crowd.pods, number % crowd.services, number % 2 == 0
            if number % HOME_EACH == 0:
                pod = home[number // HOME_EACH % len(home)]
            changed = crowd.pod(pod, ready=ready, labels={TICK: str(time.monotonic_ns())})
            first, second = crowd.slices(service, () if ready else [service], [_marked(number)])
            store.put([changed, first])  # of one revision, as no two of one resource ever are
            store.put_one(second)


def heartbeats(namespace: Namespace, crowd: Crowd, count: int) -> None:
    """Let nodes say that they live."""
    with Store(namespace) as store:
        for number in range(count):
            name = crowd.node_name(1 + number % (crowd.nodes - 1))
            node = objects.node(name, zone="zone-0")
            node["metadata"] |= {"uid": _uid(number % crowd.nodes), "creationTimestamp": BORN}
            store.put_one({**node, "status": objects.node_status(name, ["192.0.3.1"])})


def marker(number: int) -> str:
    """Return the address that comes with the n-th change; its pod's name ends in when that was."""
    return f"10.{200 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def _marked(number: int) -> Json:
    target = {"kind": "Pod", "namespace": "default", "name": f"at-{time.monotonic_ns()}", "uid": _uid(number)}
    return {**services.endpoint(marker(number), node="crowd-1"), "targetRef": target}


def send(api: ApiServer, many: Iterable[One], how: Callable[[Api, One], object]) -> None:
    """Do something with each, over several connections at once; raises the first error."""
    idle: SimpleQueue[Api] = SimpleQueue()

    def do(one: One) -> None:
        client = idle.get()
        try:
            how(client, one)
        finally:
            idle.put(client)

    with ExitStack() as stack:
        for _ in range(WORKERS):
            idle.put(stack.enter_context(closing(api.client(ADMIN))))
        pool = stack.enter_context(ThreadPoolExecutor(WORKERS))
        deque(pool.map(do, many), maxlen=0)


def _entry(one: Json) -> Json:
    metadata = one["metadata"]
    names = REGISTRY[one["kind"]], metadata.get("namespace", ""), metadata["name"]
    key = "/registry/" + "/".join(filter(None, names))
    return {name: base64.b64encode(text.encode()).decode() for name, text in (("key", key), ("value", json.dumps(one)))}


def _pod_name(pod: int, service: int) -> str:
    """Return a name as a Deployment's ReplicaSet makes it."""
    rest, letters = pod, ""
    for _ in range(5):
        rest, digit = divmod(rest, len(LETTERS))
        letters += LETTERS[digit]
    return f"checkout-{service}-{HASH}-{letters}"


def _uid(number: int) -> str:
    return f"{number * 0x9E3779B1 % 2**32:08x}-5aa8-4c2a-9c47-{number:012x}"
