"""The reference encoder: spans as opentelemetry-proto messages.

Plain on purpose: what really encodes, :mod:`natlens.otlp.spans.encode`, is tested against it.
"""

from typing import Final

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK, Span, Status

from natlens.flows.connection import State
from natlens.otlp.arrange import arrange
from natlens.otlp.column import Mask
from natlens.otlp.record import SCHEMA_URL, SCOPE, TRACE_FLAGS, key_value
from natlens.otlp.spans.batch import SPAN_NAME, SpanBatch

__all__ = ["FLAGS", "blank", "encode", "failed", "linked"]

FLAGS: Final = TRACE_FLAGS | SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
"""Of spans and links: the trace's, and that neither a parent nor what is linked is remote."""


def encode(spans: SpanBatch, resource: Resource) -> ExportTraceServiceRequest:
    """Return one request, with the spans in the batch's order."""
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add(resource=resource, schema_url=SCHEMA_URL)
    of_scope = of_resource.scope_spans.add(scope=SCOPE, schema_url=SCHEMA_URL)
    rows = arrange(spans.batch).rows(len(spans))
    is_failed, is_linked = failed(spans), linked(spans)
    for at, attributes in enumerate(rows):
        span = blank(spans)
        span.trace_id, span.span_id = bytes(spans.trace_id[at]), bytes(spans.span_id[at])
        span.start_time_unix_nano, span.end_time_unix_nano = int(spans.start_ns[at]), int(spans.end_ns[at])
        span.attributes.extend(key_value(name, value) for name, value in attributes)
        if is_failed[at]:
            span.status.code = Status.STATUS_CODE_ERROR
        if is_linked[at]:
            span.links.add(trace_id=span.trace_id, span_id=bytes(spans.previous[at]), flags=FLAGS)
        of_scope.spans.append(span)
    return request


def blank(spans: SpanBatch) -> Span:
    """Return what all spans of a batch have in common."""
    return Span(trace_state=spans.trace_state, flags=FLAGS, name=SPAN_NAME, kind=Span.SPAN_KIND_INTERNAL)


def failed(spans: SpanBatch) -> Mask:
    """Return which spans have the status Error, shape (n,): those of connections that nothing ever answered."""
    unanswered: Mask = spans.batch.connections["state"] == State.UNANSWERED
    return unanswered


def linked(spans: SpanBatch) -> Mask:
    """Return which spans continue another, shape (n,)."""
    return np.asarray(spans.previous.any(axis=1))
