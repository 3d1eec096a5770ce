"""The span encoder: segments to serialized requests, by columns, with the record encoder's parts.

The bytes decode to the same message as those of :func:`natlens.otlp.spans.message.encode`, the oracle. Field numbers
are those of opentelemetry-proto's ``trace_service.proto`` and ``trace.proto``.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from natlens.otlp.arrange import Arranged, arrange
from natlens.otlp.column import Mask
from natlens.otlp.encoder import PREPARED
from natlens.otlp.envelope import Envelope, Records, put_together
from natlens.otlp.numbers import number_octets
from natlens.otlp.pieces import Fragments, Piece, pieces
from natlens.otlp.request import REQUEST_BYTES, REQUEST_RECORDS, Request
from natlens.otlp.spans.batch import SpanBatch
from natlens.otlp.spans.message import FLAGS, blank, failed, linked
from natlens.otlp.strip import Lengths, Octets, varint

__all__ = ["SpanEncoder"]

# Field number << 3 | wire type; of ids with their length.
TRACE_ID, SPAN_ID, START, END, ATTRIBUTES, LINKS = b"\x0a\x10", b"\x12\x08", b"\x39", b"\x41", b"\x4a", b"\x6a"  # Span
LINK_FLAGS = b"\x35"  # Link, whose ids have the numbers of the span's
FAILED = b"\x7a\x02\x18\x02"  # Span: a Status whose code is Error


class _Prepared(NamedTuple):
    """Spans, ready to be put together."""

    head: bytes
    spans: SpanBatch
    failed: Mask
    linked: Mask
    arranged: Arranged
    attributes: Sequence[Piece]


class SpanEncoder:
    """Encodes spans of one observer; keeps encoded attributes from one batch to the next.

    ``request_bytes`` and ``request_spans`` limit a request; a span that is larger alone is a request of its own.
    """

    def __init__(
        self, resource: Resource, *, request_bytes: int = REQUEST_BYTES, request_spans: int = REQUEST_RECORDS
    ) -> None:
        self._envelope = Envelope(resource, "traces", request_bytes)
        self._request_spans = request_spans
        self._fragments = Fragments(ATTRIBUTES)

    def requests(self, spans: SpanBatch) -> Iterator[Request]:
        """Yield the spans as requests, :meth:`~natlens.otlp.spans.batch.SpanBatch.by_ends`; always the same bytes."""
        self._fragments.turn()
        for part in spans.by_ends(self._request_spans * PREPARED):
            prepared = self._prepare(part)
            for at in range(0, len(part), self._request_spans):
                few = slice(at, min(at + self._request_spans, len(part)))
                yield from self._envelope.requests(*_records(prepared, few))

    def _prepare(self, spans: SpanBatch) -> _Prepared:
        arranged = arrange(spans.batch)
        attributes = pieces(arranged.groups, self._fragments)
        return _Prepared(blank(spans).SerializeToString(), spans, failed(spans), linked(spans), arranged, attributes)


def _records(of: _Prepared, part: slice) -> tuple[Records, Lengths]:
    """Return the spans' strips and pieces, and how many octets each span has."""
    spans, nothing = of.spans, np.empty((part.stop - part.start, 0), np.uint8)
    always = [
        Octets(of.head + TRACE_ID, spans.trace_id[part]),
        Octets(SPAN_ID, spans.span_id[part]),
        Octets(START, _fixed(spans.start_ns[part])),
        Octets(END, _fixed(spans.end_ns[part])),
        *number_octets(ATTRIBUTES, of.arranged.always, part),
    ]
    rest = list(number_octets(ATTRIBUTES, of.arranged.sometimes, part))
    if of.failed[part].any():
        rest.append(Octets(FAILED, nothing, of.failed[part]))
    if of.linked[part].any():
        rest.append(_links(spans, part, of.linked[part]))
    return put_together(always, rest, of.attributes, part)


def _links(spans: SpanBatch, part: slice, linked: Mask) -> Octets:
    flags = LINK_FLAGS + FLAGS.to_bytes(4, "little")
    own = np.hstack([spans.trace_id[part], np.broadcast_to(np.frombuffer(SPAN_ID, np.uint8), (len(linked), 2))])
    own = np.hstack([own, spans.previous[part]])
    return Octets(LINKS + varint(len(flags) + len(TRACE_ID) + own.shape[1]) + flags + TRACE_ID, own, linked)


def _fixed(values: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Return times as fixed64, shape (n, 8)."""
    return np.ascontiguousarray(values, "<i8").view(np.uint8).reshape(-1, 8)
