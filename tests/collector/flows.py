"""natlens' own records, of every attribute type there is, and which of them a receiver wrote how often."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec
import numpy as np
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from natlens.identity.endpoint import Endpoint
from natlens.otlp.encoder import Encoder
from natlens.otlp.request import REQUEST_BYTES, REQUEST_RECORDS, Request
from tests.bench.shapes import RESOURCE, Cluster, batch, connections

__all__ = ["Sent", "requests_of", "times"]


class _Derived(Cluster):
    """Whose owner a pod has is only derived for every other one: so that there are attributes of type bool."""

    def endpoint(self, address: str, port: int, transport: int, at_ns: int) -> Endpoint:
        known = super().endpoint(address, port, transport, at_ns)
        if known.k8s_pod_name is None:
            return known
        return msgspec.structs.replace(known, k8s_owner_derived=address.endswith(tuple("02468")))


def requests_of(n: int, *, request_records: int = REQUEST_RECORDS, request_bytes: int = REQUEST_BYTES) -> list[Request]:
    """Return ``n`` connections, half plain and half full, as the agent encodes them."""
    cluster = _Derived()
    rows = np.concatenate([connections(cluster, n // 2, full=full, seed=1 + full) for full in (False, True)])
    encoder = Encoder(RESOURCE, request_bytes=request_bytes, request_records=request_records)
    return list(encoder.requests(batch(cluster, rows)))


class Sent:
    """Requests to hold against those that came out of a receiver, in any order, each re-serialized as it does that."""

    def __init__(self, requests: list[Request]) -> None:
        self.requests = requests
        self.records = sum(request.records for request in requests)
        self._expected = Counter(_canonical_digest(request.data) for request in requests)
        self._seen: dict[bytes, bytes] = {}  # what a receiver wrote → the message it is: most write the same each time

    def check(self, received: list[bytes]) -> None:
        """Fail where the received requests, as messages, are not those that were sent, each once."""
        found = [(self._known(data), data) for data in received]
        for digest, data in found:
            if digest not in self._expected:
                strange = set(times([data])) - set(times(request.data for request in self.requests))
                raise AssertionError(f"{len(strange)} records were not sent, one of them {next(iter(strange), b'')!r}")
        assert Counter(digest for digest, _ in found) == self._expected

    def _known(self, data: bytes) -> bytes:
        digest = hashlib.sha256(data).digest()
        if digest not in self._seen:
            self._seen[digest] = _canonical_digest(data)
        return self._seen[digest]


def times(requests: Iterable[bytes]) -> Counter[tuple[bytes, bytes]]:
    """Return how often each record is in serialized requests: what surrounds it, and the record itself."""
    return Counter(record for request in requests for record in _records(request))


def _records(request: bytes) -> Iterator[tuple[bytes, bytes]]:
    for of_resource in ExportLogsServiceRequest.FromString(request).resource_logs:
        resource = _canonical(of_resource.resource) + of_resource.schema_url.encode()
        for of_scope in of_resource.scope_logs:
            around = resource + _canonical(of_scope.scope) + of_scope.schema_url.encode()
            yield from ((around, _canonical(record)) for record in of_scope.log_records)


def _canonical(message: Message) -> bytes:
    """Return bytes that are the same for equal messages: these have no maps and no unknown fields."""
    return message.SerializeToString(deterministic=True)


def _canonical_digest(request: bytes) -> bytes:
    return hashlib.sha256(_canonical(ExportLogsServiceRequest.FromString(request))).digest()
