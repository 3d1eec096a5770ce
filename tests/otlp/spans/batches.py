"""Spans for tests: hypothesis strategies for arbitrary ones."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from natlens.flows.connection import State
from natlens.otlp.spans.batch import SpanBatch
from tests.otlp.batches import batches, traces

__all__ = ["in_order", "span_batches"]


def in_order(spans: SpanBatch) -> SpanBatch:
    """Return the spans as the encoder orders them."""
    return next(spans.by_ends(), spans)


@st.composite
def span_batches(draw: st.DrawFn, max_size: int = 8) -> SpanBatch:
    """Any connections as segments at any time, some of them linked, some of them unanswered."""
    batch = draw(batches(max_size))
    n = len(batch)
    trace, linked = draw(traces(n)), draw(nps.arrays(np.bool_, n))
    previous = draw(nps.arrays(np.uint8, (n, 8), elements=st.integers(1, 255))) * linked[:, None]
    times = draw(nps.arrays(np.int64, (2, n), elements=st.integers(0, 2**63 - 1)))
    batch.connections["state"] = draw(nps.arrays(np.uint8, n, elements=st.sampled_from([0, *State])))
    state = draw(st.sampled_from(["", "ot=th:8", "ot=th:fd70a"]))
    return SpanBatch(batch, trace.trace_id, trace.span_id, previous.astype(np.uint8), times.min(0), times.max(0), state)
