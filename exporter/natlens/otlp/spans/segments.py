"""Segments: the parts of a connection that each become one span, over all its records.

A segment ends with the connection, or with its first record at ``max_age_ns`` or more after it began; the next one
begins at that record's last packet. A record belongs to the segment that is open when it comes, so the one that ends a
segment is its last. Whether a connection has spans is decided at its first record.

A record whose connection is not known and that is not the first (a straggler after the last one: ``flows/report.py``)
is a segment of its own, at the time of its last packet: when what it tells of began is not known.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from natlens.flows.columns import gather, stack
from natlens.flows.connection import EndReason
from natlens.otlp.batch import Batch, Trace
from natlens.otlp.column import Codes, Mask
from natlens.otlp.spans import ids, sampling
from natlens.otlp.spans.batch import SpanBatch

__all__ = ["Spans"]

COUNTERS = [f"{way}_{what}" for way in ("forward", "reverse") for what in ("octets", "packets")]

OPEN = np.dtype(
    [
        ("key", np.uint64),  # of the connection, see natlens.otlp.spans.ids
        ("segment", np.uint64),  # 0, 1, 2… of the connection; LONE and more: one record
        ("span", np.uint64),  # its span id: kept, for the records before have told it
        ("previous", np.uint64),  # span id of the segment before; 0: there is none
        ("start_ns", np.int64),  # Unix time
        *((counter, np.uint64) for counter in COUNTERS),  # since it began
    ]
)

LONE = 1 << 32
"""Added to a record's sequence it is the number of a segment of its own: no other segment has it."""


class Spans:
    """The open segments of live connections that were chosen; one that has one record only is never among them.

    Args:
        ratio: share of the connections that have spans, 0 to 1.
        max_age_ns: age at which a segment ends with the next record.
    """

    def __init__(self, ratio: float, max_age_ns: int) -> None:
        self._threshold = sampling.threshold(ratio)
        self._trace_state = sampling.trace_state(self._threshold)
        self._max_age_ns = max_age_ns
        self._open = np.zeros(0, OPEN)  # the keys ascend

    def __len__(self) -> int:
        """Return how many segments are open."""
        return len(self._open)

    def of(self, batch: Batch, node: str) -> tuple[Batch, SpanBatch]:
        """Return the batch with the spans that its records belong to, and the spans that end with it.

        ``node`` tells nodes apart (``service.instance.id``); a segment keeps the span id that it began with. Every
        batch is to be given once, those of a connection in the order of its records.
        """
        node_word, connections = ids.node_word(node), batch.connections
        trace = ids.trace_words(connections["flow_id"])
        rows, segments = self._segments(batch, trace, node_word)
        lone = segments["segment"] >= LONE
        for counter in COUNTERS:
            segments[counter] += connections[counter][rows]
        end_ns = np.maximum(connections["end_ns"][rows], segments["start_ns"])
        goes_on = (connections["end_reason"][rows] == EndReason.ACTIVE_TIMEOUT) & ~lone
        ended = ~goes_on | (end_ns - segments["start_ns"] >= self._max_age_ns)
        spans = self._spans(batch, trace, rows[ended], segments[ended], end_ns[ended])
        live = _continued(segments[goes_on], ended[goes_on], end_ns[goes_on], node_word)
        self._keep(segments["key"], live)
        return replace(batch, trace=_trace(trace, rows, segments["span"])), spans

    def _segments(self, batch: Batch, trace: ids.Words, node: np.uint64) -> tuple[Codes, npt.NDArray[np.void]]:
        """Return which rows of the batch have spans, in the order of their keys, and each one's segment so far."""
        rows = np.flatnonzero(sampling.chosen(trace, self._threshold))
        keys = ids.keys(trace[rows])
        order = np.argsort(keys)
        rows, keys = rows[order], keys[order]
        at, known = self._find(keys)
        has = known | batch.counts[rows]
        rows, keys, at, known = rows[has], keys[has], at[has], known[has]
        segments = _begun(batch.connections, rows, keys, node)
        segments[known] = gather(self._open, at[known])
        return rows, segments

    def _find(self, keys: ids.Words) -> tuple[Codes, Mask]:
        """Return where ``keys`` (ascending) are among the open ones, and which are there: of equals only the first."""
        if not len(self._open):
            return np.zeros(len(keys), np.intp), np.zeros(len(keys), np.bool_)
        at = np.minimum(np.searchsorted(self._open["key"], keys), len(self._open) - 1)
        return at, (self._open["key"][at] == keys) & _first(keys)

    def _keep(self, seen: ids.Words, going_on: npt.NDArray[np.void]) -> None:
        """Have ``going_on`` open instead of those with the keys ``seen``, both ascending."""
        at, known = self._find(seen)
        others = np.ones(len(self._open), np.bool_)
        others[at[known]] = False
        both = stack([gather(self._open, others), going_on])
        self._open = gather(both, np.argsort(both["key"], kind="stable"))  # two ascending runs: one merge

    def _spans(
        self,
        batch: Batch,
        trace: ids.Words,
        rows: Codes,
        segments: npt.NDArray[np.void],
        end_ns: npt.NDArray[np.int64],
    ) -> SpanBatch:
        told = batch.take(rows)
        for counter in COUNTERS:
            told.connections[counter] = segments[counter]
        told.connections["sequence"] = segments["segment"] % LONE
        span_id, previous = ids.octets(segments["span"]), ids.octets(segments["previous"])
        return SpanBatch(
            told, ids.octets(trace[rows]), span_id, previous, segments["start_ns"], end_ns, self._trace_state
        )


def _first(keys: ids.Words) -> Mask:
    """Return which of ascending keys differ from the one before."""
    first: Mask = np.r_[True, keys[1:] != keys[:-1]][: len(keys)]
    return first


def _begun(connections: npt.NDArray[np.void], rows: Codes, keys: ids.Words, node: np.uint64) -> npt.NDArray[np.void]:
    """Return what begins with these rows if nothing is open: a connection's first segment, or one record's own."""
    begun = np.zeros(len(rows), OPEN)
    sequence = connections["sequence"][rows].astype(np.uint64)
    lone = (sequence > 0) | ~_first(keys)
    begun["key"], begun["segment"] = keys, np.where(lone, sequence + np.uint64(LONE), 0)
    begun["span"] = ids.span_ids(keys, node, begun["segment"])
    begun["start_ns"] = np.maximum(np.where(lone, connections["end_ns"][rows], connections["start_ns"][rows]), 0)
    return begun


def _continued(
    segments: npt.NDArray[np.void], ended: Mask, end_ns: npt.NDArray[np.int64], node: np.uint64
) -> npt.NDArray[np.void]:
    """Return the segments, changed in place: where one has ended is the next."""
    following = np.zeros(int(np.count_nonzero(ended)), OPEN)
    following["key"], following["segment"] = segments["key"][ended], segments["segment"][ended] + np.uint64(1)
    following["span"] = ids.span_ids(following["key"], node, following["segment"])
    following["previous"], following["start_ns"] = segments["span"][ended], end_ns[ended]
    segments[ended] = following
    return segments


def _trace(trace: ids.Words, rows: Codes, spans: ids.Words) -> Trace:
    of_rows, sampled = np.zeros(len(trace), np.uint64), np.zeros(len(trace), np.bool_)
    of_rows[rows], sampled[rows] = spans, True
    return Trace(ids.octets(trace), ids.octets(of_rows), sampled)
