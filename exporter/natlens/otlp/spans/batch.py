"""What the span encoder takes: segments of connections that have ended."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from natlens.otlp.batch import Batch
from natlens.otlp.column import Codes

__all__ = ["SPAN_NAME", "SpanBatch"]

SPAN_NAME = "flow.connection"


@dataclass(frozen=True, slots=True)
class SpanBatch:
    """Spans; every column has one entry a span, in the same order."""

    batch: Batch
    """The connections as they were when the segments ended: the counters of an interval are the segment's, the
    sequence is the segment's number. Without a trace of its own."""
    trace_id: npt.NDArray[np.uint8]
    """Shape (n, 16)."""
    span_id: npt.NDArray[np.uint8]
    """Shape (n, 8)."""
    previous: npt.NDArray[np.uint8]
    """Shape (n, 8): span id of the segment before; zeros where there is none."""
    start_ns: npt.NDArray[np.int64]
    """Shape (n,), Unix time."""
    end_ns: npt.NDArray[np.int64]
    """Shape (n,), Unix time; not before ``start_ns``."""
    trace_state: str = ""
    """Of all of them, W3C ``tracestate``."""

    def __len__(self) -> int:
        """Return the number of spans."""
        return len(self.batch)

    def by_ends(self, most: int = 1 << 62) -> Iterator["SpanBatch"]:
        """Yield the same spans in parts of ``most``, as :meth:`natlens.otlp.batch.Batch.by_ends` does."""
        order = self.batch.order()
        for at in range(0, len(self), most):
            yield self._take(order[at : at + most])

    def _take(self, rows: Codes) -> "SpanBatch":
        return SpanBatch(
            self.batch.take(rows),
            self.trace_id[rows],
            self.span_id[rows],
            self.previous[rows],
            self.start_ns[rows],
            self.end_ns[rows],
            self.trace_state,
        )
