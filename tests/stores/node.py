"""A node whose connections are made up, with what natlens makes of them: collections at the times a test says."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from natlens.flows.connection import Nat
from natlens.flows.tuples import address_text
from natlens.otlp.batch import Batch
from natlens.otlp.metrics.encode import MetricsEncoder
from natlens.otlp.metrics.series import Metrics
from natlens.otlp.metrics.settings import MetricSettings
from natlens.otlp.request import Request
from tests.bench import shapes
from tests.otlp.batches import connection, tuples
from tests.stores.points import node

__all__ = ["CLUSTER", "SECOND", "Call", "Node", "batch"]

SECOND = 10**9
IPV4 = 4
CLUSTER = shapes.Cluster()
Key = tuple[str, str]


class Call(NamedTuple):
    """A connection of a pod of this node to a Service, and which pod answered (numbers of :data:`CLUSTER`)."""

    source: int
    service: int
    backend: int
    octets: int
    """Of both directions together, at least 1."""
    duration_s: float = 1.0

    @property
    def key(self) -> Key:
        """What dashboards tell apart: the Service's and the answering pod's name."""
        service, backend = (
            CLUSTER.endpoint(_address(kind, number), 80, 6, 0)
            for kind, number in (("service", self.service), ("pod", self.backend))
        )
        return service.k8s_service_name or "", backend.k8s_pod_name or ""


class Node:
    """One agent: its metrics and their encoder."""

    def __init__(self, settings: MetricSettings, began_ns: int, name: str = "node-a") -> None:
        self._metrics = Metrics(settings, began_ns)
        self._encoder = MetricsEncoder(node(name))

    def collect(self, time_ns: int, calls: Sequence[Call] = ()) -> Iterator[Request]:
        """Yield the requests of a collection, after these calls."""
        if calls:
            self._metrics.add(batch(calls))
        yield from self._requests(time_ns)

    def collect_batch(self, time_ns: int, connections: Batch) -> Iterator[Request]:
        """Yield the requests of a collection, after these connections."""
        self._metrics.add(connections)
        yield from self._requests(time_ns)

    def _requests(self, time_ns: int) -> Iterator[Request]:
        collection = self._metrics.collect(time_ns)
        if collection is not None:
            yield from self._encoder.requests(collection)


def batch(calls: Iterable[Call]) -> Batch:
    """Return connections that are over, each in its first and last record."""
    rows = [_connection(number, call) for number, call in enumerate(calls)]
    return shapes.batch(CLUSTER, np.concatenate(rows))


def _connection(number: int, call: Call) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
    source, service, backend = (
        _address(kind, of) for kind, of in (("pod", call.source), ("service", call.service), ("pod", call.backend))
    )
    start_ns = shapes.NOW
    return connection(
        original=tuples(source, service, 40_000 + number % 20_000, 80),
        translated=tuples(source, backend, 40_000 + number % 20_000, 8080),
        nat=Nat.DNAT,
        forward_octets=call.octets // 3,
        reverse_octets=call.octets - call.octets // 3,
        flow_id=(number + 1, number + 1),
        sequence=0,
        start_ns=start_ns,
        end_ns=start_ns + round(call.duration_s * SECOND),
    )


def _address(kind: str, number: int) -> str:
    return address_text(CLUSTER.addresses[kind][number].tobytes(), IPV4)
