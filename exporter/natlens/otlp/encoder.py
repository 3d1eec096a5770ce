"""The encoder: a window's batch to serialized requests, by columns.

A record is a strip of its own (its numbers) and pieces that many records share: the parts of its body, what its ends
are called, its combination of transport, state, flags …. Each piece is encoded once. The bytes decode to the same
message as those of :func:`natlens.otlp.record.encode`, the oracle. Field numbers are those of opentelemetry-proto's
``logs_service.proto`` and ``logs.proto``.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from natlens.otlp import body
from natlens.otlp.arrange import Arranged, arrange
from natlens.otlp.batch import Batch
from natlens.otlp.numbers import number_octets
from natlens.otlp.pieces import Fragments, Piece, pieces
from natlens.otlp.record import SCHEMA_URL, SCOPE, blank
from natlens.otlp.request import REQUEST_BYTES, REQUEST_RECORDS, Request
from natlens.otlp.strip import Lengths, Octets, padded, strips, varint

__all__ = ["Encoder"]

# Field number << 3 | 2, length-delimited.
RESOURCE_LOGS = b"\x0a"  # ExportLogsServiceRequest
SCOPE_LOGS = b"\x12"  # ResourceLogs
LOG_RECORDS = b"\x12"  # ScopeLogs
BODY = b"\x2a"  # LogRecord
STRING = b"\x0a"  # AnyValue

PREPARED = 16  # requests whose columns are in memory at once


class _Prepared(NamedTuple):
    """A batch, ready to be put together."""

    head: bytes
    arranged: Arranged
    lines: Sequence[Piece]
    attributes: Sequence[Piece]


class Encoder:
    """Encodes batches of one observer; keeps encoded attributes from one batch to the next.

    ``request_bytes`` and ``request_records`` limit a request; a record that is larger alone is a request of its own.
    """

    def __init__(
        self, resource: Resource, *, request_bytes: int = REQUEST_BYTES, request_records: int = REQUEST_RECORDS
    ) -> None:
        self._of_resource = ResourceLogs(resource=resource, schema_url=SCHEMA_URL).SerializeToString()
        self._of_scope = ScopeLogs(scope=SCOPE, schema_url=SCHEMA_URL).SerializeToString()
        self._request_bytes, self._request_records = request_bytes, request_records
        self._fragments = Fragments()

    def requests(self, batch: Batch) -> Iterator[Request]:
        """Yield the batch as requests, its records :meth:`~natlens.otlp.batch.Batch.by_ends`; always the same bytes."""
        self._fragments.turn()
        for part in batch.by_ends(self._request_records * PREPARED):
            prepared = self._prepare(part)
            for at in range(0, len(part), self._request_records):
                records, lengths = _records(prepared, slice(at, min(at + self._request_records, len(part))))
                for cut in self._cuts(lengths):
                    yield self._request(records[cut], int(lengths[cut].sum()))

    def _prepare(self, batch: Batch) -> _Prepared:
        arranged = arrange(batch)
        return _Prepared(
            blank(batch).SerializeToString(),
            arranged,
            [Piece.of(part.codes, [str(text).encode() for text in part.values]) for part in body.parts(batch)],
            pieces(arranged.groups, self._fragments),
        )

    def _cuts(self, lengths: Lengths) -> Iterator[slice]:
        """Yield slices of as many records as a request may hold octets."""
        ends = np.cumsum(lengths)
        start = before = 0
        while start < len(lengths):
            room = self._request_bytes - self._overhead
            end = max(int(np.searchsorted(ends, before + room, "right")), start + 1)
            yield slice(start, end)
            start, before = end, int(ends[end - 1])

    def _request(self, records: npt.NDArray[np.object_], size: int) -> Request:
        scope = len(self._of_scope) + size
        head = [self._of_resource, SCOPE_LOGS, varint(scope), self._of_scope]
        whole = sum(map(len, head)) + size
        return Request(b"".join([RESOURCE_LOGS, varint(whole), *head, *records.ravel().tolist()]), len(records))

    @property
    def _overhead(self) -> int:
        """What surrounds the records of a request takes at the most."""
        return len(self._of_resource) + len(self._of_scope) + 2 * (1 + 5)


def _records(of: _Prepared, part: slice) -> tuple[npt.NDArray[np.object_], Lengths]:
    """Return the records' strip and pieces (shape (n, pieces), of bytes), and how many octets each record has."""
    n = part.stop - part.start
    text = _total(of.lines, part, n)
    length = Octets(STRING, padded(text))
    value = Octets(BODY, padded(length.width + text))
    always = [Octets(of.head, np.empty((n, 0), np.uint8)), *number_octets(of.arranged.always, part)]
    rest = [*number_octets(of.arranged.sometimes, part), value, length]
    size = sum(column.lengths for column in [*always, *rest]) + text + _total(of.attributes, part, n)
    whole = Octets(LOG_RECORDS, padded(size))
    records = np.empty((n, 2 + len(of.lines) + len(of.attributes)), np.object_)
    records[:, 0], records[:, 1] = strips(n, [whole, *always]), strips(n, rest)
    for at, piece in enumerate([*of.lines, *of.attributes], 2):
        records[:, at] = piece.octets.take(piece.codes[part])
    return records, whole.width + size


def _total(of: Sequence[Piece], part: slice, n: int) -> Lengths:
    total = np.zeros(n, np.int64)
    for piece in of:
        total += piece.lengths.take(piece.codes[part])
    return total
