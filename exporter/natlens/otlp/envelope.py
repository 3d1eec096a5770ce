"""What is around the records, spans or metrics of a request, and how many of them a request takes.

``Export…ServiceRequest``, ``Resource{Logs,Spans,Metrics}`` and ``Scope{Logs,Spans,Metrics}`` differ in names only: the
field numbers are the same, so the octets around records are those around spans and metrics.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from natlens.otlp.pieces import Piece
from natlens.otlp.record import SCHEMA_URL, SCOPE
from natlens.otlp.request import Request, Signal
from natlens.otlp.strip import Lengths, Octets, padded, strips, varint

__all__ = ["Envelope", "Records", "cuts", "put_together", "total"]

Records = npt.NDArray[np.object_]
"""Shape (n, pieces), of bytes: a record is the pieces of its row."""

# Field number << 3 | 2, length-delimited.
RESOURCE_LOGS = b"\x0a"  # ExportLogsServiceRequest
SCOPE_LOGS = b"\x12"  # ResourceLogs
LOG_RECORDS = b"\x12"  # ScopeLogs


class Envelope:
    """Requests of one observer; ``request_bytes`` limits them, but a record that is larger alone is one of its own."""

    def __init__(self, resource: Resource, signal: Signal, request_bytes: int) -> None:
        self._of_resource = ResourceLogs(resource=resource, schema_url=SCHEMA_URL).SerializeToString()
        self._of_scope = ScopeLogs(scope=SCOPE, schema_url=SCHEMA_URL).SerializeToString()
        self._signal, self._request_bytes = signal, request_bytes

    def requests(self, records: Records, lengths: Lengths) -> Iterator[Request]:
        """Yield requests of the records, as few as the limit allows, in order; ``lengths`` are theirs."""
        for begin, end in pairwise(cuts(lengths, self.room)):
            yield self.around(records[begin:end].ravel().tolist(), int(lengths[begin:end].sum()), end - begin)

    def around(self, octets: Sequence[bytes], size: int, records: int) -> Request:
        """Return a request of what the scope holds: ``octets``, ``size`` in all, with so many records."""
        scope = len(self._of_scope) + size
        head = [self._of_resource, SCOPE_LOGS, varint(scope), self._of_scope]
        whole = sum(map(len, head)) + size
        return Request(b"".join([RESOURCE_LOGS, varint(whole), *head, *octets]), records, self._signal)

    @property
    def room(self) -> int:
        """How many octets the scope of a request may hold."""
        return self._request_bytes - len(self._of_resource) - len(self._of_scope) - 2 * (1 + 5)


def cuts(lengths: Lengths, room: int) -> list[int]:
    """Return bounds between which each sum of lengths is at most ``room``, or that of one alone."""
    ends, bounds = np.cumsum(lengths), [0]
    while bounds[-1] < len(lengths):
        start = bounds[-1]
        before = int(ends[start - 1]) if start else 0
        bounds.append(max(int(np.searchsorted(ends, before + room, "right")), start + 1))
    return bounds


def put_together(
    always: Sequence[Octets], rest: Sequence[Octets], pieces: Sequence[Piece], part: slice
) -> tuple[Records, Lengths]:
    """Return the records ``part``, and how many octets each has.

    Each is a field of its scope: what it always has, in one strip; ``rest``, which it may have, in another; its pieces.
    """
    n = part.stop - part.start
    size = sum(column.lengths for column in [*always, *rest]) + total(pieces, part)
    whole = Octets(LOG_RECORDS, padded(size))
    records = np.empty((n, 2 + len(pieces)), np.object_)
    records[:, 0], records[:, 1] = strips(n, [whole, *always]), strips(n, rest)
    for at, piece in enumerate(pieces, 2):
        records[:, at] = piece.octets.take(piece.codes[part])
    return records, whole.width + size


def total(pieces: Sequence[Piece], part: slice) -> Lengths:
    """Return how many octets of ``pieces`` each of the records ``part`` has."""
    lengths = np.zeros(part.stop - part.start, np.int64)
    for piece in pieces:
        lengths += piece.lengths.take(piece.codes[part])
    return lengths
