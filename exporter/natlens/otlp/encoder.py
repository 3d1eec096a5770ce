"""The encoder: a window's batch to serialized requests, by columns.

A record is a strip of its own (its numbers) and pieces that many records share: the parts of its body, what its ends
are called, its combination of transport, state, flags …. Each piece is encoded once. The bytes decode to the same
message as those of :func:`natlens.otlp.record.encode`, the oracle. Field numbers are those of opentelemetry-proto's
``logs_service.proto`` and ``logs.proto``.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from natlens.otlp import body
from natlens.otlp.arrange import Arranged, arrange
from natlens.otlp.batch import Batch, Trace
from natlens.otlp.envelope import Envelope, Records, put_together, total
from natlens.otlp.numbers import number_octets
from natlens.otlp.pieces import Fragments, Piece, pieces
from natlens.otlp.record import TRACE_FLAGS, blank
from natlens.otlp.request import REQUEST_BYTES, REQUEST_RECORDS, Request
from natlens.otlp.strip import Lengths, Octets, padded

__all__ = ["PREPARED", "Encoder"]

# Field number << 3 | wire type.
BODY, ATTRIBUTES = b"\x2a", b"\x32"  # LogRecord
FLAGS, TRACE_ID, SPAN_ID = b"\x45", b"\x4a\x10", b"\x52\x08"  # LogRecord; with the lengths of ids
STRING = b"\x0a"  # AnyValue

PREPARED = 16  # requests whose columns are in memory at once


class _Prepared(NamedTuple):
    """A batch, ready to be put together."""

    head: bytes
    arranged: Arranged
    trace: Trace | None
    lines: Sequence[Piece]
    attributes: Sequence[Piece]


class Encoder:
    """Encodes batches of one observer; keeps encoded attributes from one batch to the next.

    ``request_bytes`` and ``request_records`` limit a request; a record that is larger alone is a request of its own.
    """

    def __init__(
        self, resource: Resource, *, request_bytes: int = REQUEST_BYTES, request_records: int = REQUEST_RECORDS
    ) -> None:
        self._envelope = Envelope(resource, "logs", request_bytes)
        self._request_records = request_records
        self._fragments = Fragments(ATTRIBUTES)

    def requests(self, batch: Batch) -> Iterator[Request]:
        """Yield the batch as requests, its records :meth:`~natlens.otlp.batch.Batch.by_ends`; always the same bytes."""
        self._fragments.turn()
        for part in batch.by_ends(self._request_records * PREPARED):
            prepared = self._prepare(part)
            for at in range(0, len(part), self._request_records):
                few = slice(at, min(at + self._request_records, len(part)))
                yield from self._envelope.requests(*_records(prepared, few))

    def _prepare(self, batch: Batch) -> _Prepared:
        arranged = arrange(batch)
        return _Prepared(
            blank(batch).SerializeToString(),
            arranged,
            batch.trace,
            [Piece.of(part.codes, [str(text).encode() for text in part.values]) for part in body.parts(batch)],
            pieces(arranged.groups, self._fragments),
        )


def _records(of: _Prepared, part: slice) -> tuple[Records, Lengths]:
    """Return the records' strips and pieces, and how many octets each record has."""
    n = part.stop - part.start
    text = total(of.lines, part)
    length = Octets(STRING, padded(text))
    value = Octets(BODY, padded(length.width + text))
    always = [Octets(of.head, np.empty((n, 0), np.uint8)), *number_octets(ATTRIBUTES, of.arranged.always, part)]
    numbers = number_octets(ATTRIBUTES, of.arranged.sometimes, part)
    rest = [*_trace(of.trace, part), *numbers, value, length]
    return put_together(always, rest, [*of.lines, *of.attributes], part)


def _trace(trace: Trace | None, part: slice) -> Iterator[Octets]:
    """Yield the ids of the spans that are sent."""
    if trace is None or not (sampled := trace.sampled[part]).any():
        return
    present = None if sampled.all() else sampled
    flags = FLAGS + TRACE_FLAGS.to_bytes(4, "little")
    yield Octets(flags + TRACE_ID, trace.trace_id[part], present)
    yield Octets(SPAN_ID, trace.span_id[part], present)
