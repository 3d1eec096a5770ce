"""The span encoders: bytes, the reference's messages and the SDK's are the same, whatever the spans hold."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from natlens import __version__
from natlens.flows.connection import EndReason, State
from natlens.otlp.arrange import arrange
from natlens.otlp.record import SCHEMA_URL, TRACE_FLAGS
from natlens.otlp.request import REQUEST_BYTES, Request
from natlens.otlp.spans.batch import SpanBatch
from natlens.otlp.spans.encode import SpanEncoder
from natlens.otlp.spans.message import FLAGS, encode
from natlens.otlp.spans.segments import Spans
from tests.bench.shapes import Cluster, batch, connections
from tests.otlp.batches import batch_of, connection
from tests.otlp.spans.batches import in_order, span_batches
from tests.otlp.test_record import HERE

SECOND = 10**9


def decoded(requests: list[Request]) -> list[ExportTraceServiceRequest]:
    return [ExportTraceServiceRequest.FromString(request.data) for request in requests]


def listed(requests: list[ExportTraceServiceRequest]) -> list[Span]:
    return [span for request in requests for span in request.resource_spans[0].scope_spans[0].spans]


def oracle(spans: SpanBatch) -> ExportTraceServiceRequest:
    """Return what the SDK makes of the same spans."""
    rows = arrange(spans.batch).rows(len(spans))
    observer = {one.key: one.value.string_value for one in HERE.attributes}
    state = TraceState([(key, value) for key, _, value in [spans.trace_state.partition("=")] if key])

    def context(at: int, ids: "np.ndarray[Any, np.dtype[np.uint8]]") -> SpanContext:
        trace_id, span_id = (int.from_bytes(bytes(octets[at]), "big") for octets in (spans.trace_id, ids))
        return SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(TRACE_FLAGS), trace_state=state)

    def span(at: int) -> ReadableSpan:
        values: dict[str, Any] = dict(rows[at])
        unanswered = spans.batch.connections["state"][at] == State.UNANSWERED
        return ReadableSpan(
            name="flow.connection",
            context=context(at, spans.span_id),
            resource=Resource(observer, SCHEMA_URL),
            attributes=values,
            links=[Link(context(at, spans.previous))] if spans.previous[at].any() else [],
            kind=SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR if unanswered else StatusCode.UNSET),
            start_time=int(spans.start_ns[at]),
            end_time=int(spans.end_ns[at]),
            instrumentation_scope=InstrumentationScope("natlens", __version__, SCHEMA_URL),
        )

    return encode_spans([span(at) for at in range(len(spans))])


def comparable(request: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    """Return a request of ours with what the SDK says in another way, and both without an order of attributes."""
    for of in request.resource_spans:
        of.resource.attributes.sort(key=lambda one: one.key)
    for span in listed([request]):
        span.attributes.sort(key=lambda one: one.key)
        span.status.SetInParent()
        holders: list[Span | Span.Link] = [span, *span.links]
        for holder in holders:
            assert holder.flags & ~TRACE_FLAGS == FLAGS & ~TRACE_FLAGS
            holder.flags &= ~0xFF  # the SDK leaves out the trace's own flags
    return request


@given(span_batches(max_size=12))
def test_any_spans_decode_to_the_references_message(spans: SpanBatch) -> None:
    made = decoded(list(SpanEncoder(HERE).requests(spans)))
    assert made == ([encode(in_order(spans), HERE)] if len(spans) else [])


@given(span_batches())
def test_any_spans_decode_to_the_sdks_message(spans: SpanBatch) -> None:
    for made in decoded(list(SpanEncoder(HERE).requests(spans))):
        assert comparable(made) == comparable(oracle(in_order(spans)))


@given(span_batches(max_size=12), st.integers(0, 20_000), st.integers(1, 5))
def test_requests_keep_their_limits_and_lose_nothing(spans: SpanBatch, limit: int, most: int) -> None:
    made = list(SpanEncoder(HERE, request_bytes=limit, request_spans=most).requests(spans))
    assert all(request.records == 1 or len(request.data) <= limit for request in made)
    assert all(request.records <= most and request.signal == "traces" for request in made)
    assert [len(listed([one])) for one in decoded(made)] == [request.records for request in made]
    assert listed(decoded(made)) == (listed([encode(in_order(spans), HERE)]) if len(spans) else [])


def test_many_spans_of_real_shapes_are_the_references() -> None:
    cluster = Cluster()
    rows = connections(cluster, 3500, full=True)
    rows["sequence"], rows["end_reason"] = 0, EndReason.END_OF_FLOW_DETECTED
    _, spans = Spans(1, 300 * SECOND).of(batch(cluster, rows), "node-1")
    made = list(SpanEncoder(HERE).requests(spans))
    assert sum(request.records for request in made) == len(spans) > 3000
    assert all(request.records <= 1000 and len(request.data) < REQUEST_BYTES for request in made)
    assert listed(decoded(made)) == listed([encode(in_order(spans), HERE)])
    assert made == list(SpanEncoder(HERE).requests(spans))


def test_a_span() -> None:
    row = connection(sequence=0, end_ns=1_764_000_002_500_000_000)
    _, spans = Spans(0.5, 300 * SECOND).of(batch_of(row), "node-1")
    ((span,),) = map(listed, [decoded(list(SpanEncoder(HERE).requests(spans)))])
    assert (span.name, span.kind) == ("flow.connection", Span.SPAN_KIND_INTERNAL)
    assert span.trace_id.hex() == "0123456789abcdeffedcba9876543210"
    assert span.start_time_unix_nano == 1_764_000_000_000_000_000
    assert span.end_time_unix_nano - span.start_time_unix_nano == 2_500_000_000
    assert (span.trace_state, span.parent_span_id) == ("ot=th:8", b"")
    assert not span.links
    assert not span.HasField("status")
    held = {one.key: one.value for one in span.attributes}
    assert held["flow.bytes.delta"].int_value == 500
    assert held["flow.bytes.total"].int_value == 1500
    assert held["destination.nat.k8s.pod.name"].string_value == "web-abc"


def test_only_what_nothing_answered_has_failed() -> None:
    states = np.concatenate([connection(sequence=0, flow_id=(0, int(state)), state=state) for state in State])
    _, spans = Spans(1, 300 * SECOND).of(batch_of(states), "node-1")
    found = listed(decoded(list(SpanEncoder(HERE).requests(spans))))
    assert {(span.trace_id[-1], span.status.code) for span in found} == {
        (state, 2 if state == State.UNANSWERED else 0) for state in State
    }
