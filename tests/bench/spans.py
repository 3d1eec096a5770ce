"""What connection spans cost on one core: columns to segments to OTLP bytes."""

from functools import partial

import numpy as np
import numpy.typing as npt

from natlens.flows.connection import EndReason
from natlens.otlp.batch import Batch
from natlens.otlp.spans.encode import SpanEncoder
from natlens.otlp.spans.segments import Spans
from tests.bench.figure import median_s, say, tell
from tests.bench.shapes import CONNECTIONS, RESOURCE, Cluster, batch, connections
from tests.bench.windows import half_and_half

__all__ = ["spanned"]

NODE = "0b6c8d5a-26a4-5d0c-8c8e-9e3e8f5b2f0a"
MAX_AGE_NS = 300 * 10**9


def spanned() -> None:
    """Connections that begin and end in one window, each a span with all attributes; and a window that goes on."""
    tell("spans")
    cluster = Cluster()
    shapes = {
        "plain": connections(cluster, CONNECTIONS, full=False),
        "full": connections(cluster, CONNECTIONS, full=True),
        "half_and_half": half_and_half(cluster),
    }
    for shape, rows in shapes.items():
        ended = _counted(cluster, rows, EndReason.END_OF_FLOW_DETECTED)
        work = partial(_send, Spans(1, MAX_AGE_NS), SpanEncoder(RESOURCE), ended)
        name = "spans_per_s" if shape == "half_and_half" else f"spans_{shape}_per_s"
        say(name, CONNECTIONS / median_s(work), "1/s")
    goes_on = _counted(cluster, shapes["half_and_half"], EndReason.ACTIVE_TIMEOUT)
    spans = Spans(1, MAX_AGE_NS)
    say("spans_open_ns_per_record", median_s(lambda: spans.of(goes_on, NODE)) * 1e9 / CONNECTIONS, "ns")


def _counted(cluster: Cluster, rows: npt.NDArray[np.void], reason: EndReason) -> Batch:
    """Return the connections as first records that all count."""
    rows = rows.copy()
    rows["sequence"], rows["end_reason"] = 0, reason
    of = batch(cluster, rows)
    if of.standing is not None:
        of.standing.primary[:] = True
    return of


def _send(spans: Spans, encoder: SpanEncoder, of: Batch) -> None:
    _, ended = spans.of(of, NODE)
    for _ in encoder.requests(ended):
        pass
