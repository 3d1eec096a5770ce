"""OTLP JSON lines."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Metric, NumberDataPoint
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from natlens.otlp.batch import Batch
from natlens.otlp.jsonlines import parse_lines, to_line
from natlens.otlp.record import encode, records
from natlens.otlp.resource import Observer, resource
from tests.otlp.batches import batch_of, batches

HERE = resource(Observer(host_name="node-1"))

KINDS = ["gauge", "sum", "histogram", "exponential_histogram"]
TRACE, SPAN, PARENT = bytes(range(16)), bytes(range(8)), bytes(range(8, 16))
IDS = {"traceId": "000102030405060708090a0b0c0d0e0f", "spanId": "0001020304050607"}

TRACE_IDS, SPAN_IDS = (st.just(b"") | st.binary(min_size=n, max_size=n) for n in (16, 8))
INTEGERS = st.integers(-(2**63), 2**63 - 1)
TIMES = st.integers(0, 2**64 - 1)
EXEMPLARS = st.builds(Exemplar, trace_id=TRACE_IDS, span_id=SPAN_IDS, as_int=INTEGERS)
POINTS = st.builds(
    NumberDataPoint, start_time_unix_nano=TIMES, as_int=INTEGERS, exemplars=st.lists(EXEMPLARS, max_size=2)
)
LINKS = st.builds(Span.Link, trace_id=TRACE_IDS, span_id=SPAN_IDS)
SPANS = st.builds(
    Span,
    trace_id=TRACE_IDS,
    span_id=SPAN_IDS,
    parent_span_id=SPAN_IDS,
    links=st.lists(LINKS, max_size=2),
    kind=st.integers(0, 5),
    name=st.text(),
    start_time_unix_nano=TIMES,
)


def spans(*several: Span) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    request.resource_spans.add(resource=HERE).scope_spans.add().spans.extend(several)
    return request


def metrics(*several: Metric) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    request.resource_metrics.add(resource=HERE).scope_metrics.add().metrics.extend(several)
    return request


@given(batches())
def test_any_batch_comes_back_from_its_line(batch: Batch) -> None:
    request = encode(batch, HERE)
    line = to_line(request)
    assert "\n" not in line
    assert list(parse_lines(line + "\n")) == [request]
    assert list(parse_lines([line + "\n", "\n", line])) == [request, request]


def test_the_mapping_is_that_of_otlp_json() -> None:
    tree = json.loads(to_line(encode(batch_of(), HERE)))
    of_scope = tree["resourceLogs"][0]["scopeLogs"][0]
    (record,) = of_scope["logRecords"]
    assert set(tree["resourceLogs"][0]) == {"resource", "scopeLogs", "schemaUrl"}
    assert record["timeUnixNano"] == "1764000010000000000"
    assert record["observedTimeUnixNano"] == "1764000010100000000"
    assert (record["severityNumber"], record["eventName"]) == (9, "flow.connection")
    assert not {"traceId", "spanId", "flags", "droppedAttributesCount"} & set(record)
    values = {one["key"]: one["value"] for one in record["attributes"]}
    assert values["source.port"] == {"intValue": "40000"}
    assert values["flow.duration"] == {"doubleValue": 2.5}
    assert values["source.k8s.owner.derived"] == {"boolValue": True}
    assert values["flow.reverse.tcp.flags.tags"]["arrayValue"]["values"][0] == {"stringValue": "SYN"}


def test_ids_are_hexadecimal() -> None:
    request = encode(batch_of(), HERE)
    (record,) = records(request)
    record.trace_id, record.span_id = bytes(range(16)), bytes(range(8))
    line = to_line(request)
    assert '"traceId":"000102030405060708090a0b0c0d0e0f"' in line
    assert '"spanId":"0001020304050607"' in line
    assert list(parse_lines(line)) == [request]


@given(st.lists(SPANS, max_size=3))
def test_any_spans_come_back_from_their_line(several: list[Span]) -> None:
    request = spans(*several)
    line = to_line(request)
    assert list(parse_lines(line, ExportTraceServiceRequest)) == [request]
    assert [one.get("kind", 0) for one in json.loads(line)["resourceSpans"][0]["scopeSpans"][0].get("spans", ())] == [
        one.kind for one in several
    ]


@given(st.lists(POINTS, max_size=3), st.sampled_from(["sum", "gauge"]))
def test_any_points_come_back_from_their_line(points: list[NumberDataPoint], kind: str) -> None:
    metric = Metric(name="flow.io")
    getattr(metric, kind).SetInParent()
    getattr(metric, kind).data_points.extend(points)
    request = metrics(metric)
    assert list(parse_lines(to_line(request), ExportMetricsServiceRequest)) == [request]


def test_ids_of_spans_and_links_are_hexadecimal() -> None:
    span = Span(trace_id=TRACE, span_id=SPAN, parent_span_id=PARENT, kind=Span.SPAN_KIND_INTERNAL)
    span.links.add(trace_id=TRACE, span_id=SPAN)
    span.attributes.add(key="traceId").value.bytes_value = TRACE
    ((written,),) = [one["scopeSpans"][0]["spans"] for one in json.loads(to_line(spans(span)))["resourceSpans"]]
    assert written == {
        **IDS,
        "parentSpanId": "08090a0b0c0d0e0f",
        "kind": 1,
        "attributes": [{"key": "traceId", "value": {"bytesValue": "AAECAwQFBgcICQoLDA0ODw=="}}],
        "links": [IDS],
    }


@pytest.mark.parametrize("kind", KINDS)
def test_ids_of_exemplars_are_hexadecimal(kind: str) -> None:
    metric = Metric(name="flow.io")
    exemplar = getattr(metric, kind).data_points.add().exemplars.add(trace_id=TRACE, span_id=SPAN)
    exemplar.as_int = 7
    line = to_line(metrics(metric))
    (written,) = json.loads(line)["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    of_kind = "exponentialHistogram" if kind == "exponential_histogram" else kind
    assert written[of_kind]["dataPoints"][0]["exemplars"] == [{**IDS, "asInt": "7"}]
    assert list(parse_lines(line, ExportMetricsServiceRequest)) == [metrics(metric)]


def test_64_bit_integers_are_strings_zeros_that_say_something_stay_and_enums_are_numbers() -> None:
    metric = Metric(name="flow.io")
    metric.sum.aggregation_temporality = 2  # type: ignore[assignment]  # cumulative
    metric.sum.data_points.add(start_time_unix_nano=5, as_int=0)
    metric.sum.data_points.add(as_int=2**60)
    (written,) = json.loads(to_line(metrics(metric)))["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    assert written == {
        "name": "flow.io",
        "sum": {
            "dataPoints": [{"startTimeUnixNano": "5", "asInt": "0"}, {"asInt": "1152921504606846976"}],
            "aggregationTemporality": 2,
        },
    }


def test_lines_of_other_signals_are_skipped() -> None:
    requests: list[Any] = [encode(batch_of(), HERE), metrics(Metric(name="flow.io")), spans(Span(name="connection"))]
    text = "\n".join([*map(to_line, requests), '{"resourceProfiles":[]}', ""])
    assert list(parse_lines(text)) == requests[:1]
    for request in requests:
        assert list(parse_lines(text, type(request))) == [request]


def test_what_the_collector_writes_of_other_signals_is_read() -> None:
    line = (
        '{"resourceSpans":[{"resource":{},"scopeSpans":[{"scope":{},"spans":[{"traceId":"5b8efff798038103d269b633813fc60c",'
        '"spanId":"eee19b7ec3c1b174","parentSpanId":"","name":"x","kind":1,"links":[{"traceId":"","spanId":""}],"status":{}'
        "}]}]}]}"
    )
    (request,) = parse_lines(line, ExportTraceServiceRequest)
    (span,) = request.resource_spans[0].scope_spans[0].spans
    assert span.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
    assert (span.span_id.hex(), span.parent_span_id, len(span.links)) == ("eee19b7ec3c1b174", b"", 1)


def test_what_the_collector_writes_is_read() -> None:
    line = (
        '{"resourceLogs":[{"resource":{"attributes":[]},"scopeLogs":[{"scope":{"name":"natlens"},"logRecords":[{'
        '"timeUnixNano":"5","severityNumber":9,"body":{"stringValue":"x"},"attributes":[{"key":"d","value":'
        '{"doubleValue":"NaN"}},{"key":"i","value":{"intValue":7}}],"traceId":"","spanId":"","news":1}]}]}]}'
    )
    (request,) = parse_lines(line)
    (record,) = records(request)
    assert (record.trace_id, record.attributes[1].value.int_value) == (b"", 7)
    assert math.isnan(record.attributes[0].value.double_value)


@pytest.mark.parametrize(
    "line",
    [
        *("{", "[]", "7", '{"resourceLogs":7}', '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"x"}]}]}]}'),
        *('["resourceMetrics"]', '"resourceMetrics"', "null"),
    ],
)
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 is not an OTLP JSON request"):
        list(parse_lines(to_line(ExportLogsServiceRequest()) + "\n" + line))


@pytest.mark.parametrize(
    "line",
    [
        *('{"resourceSpans":7}', '{"resourceSpans":[{"scopeSpans":[{"spans":[{"parentSpanId":"x"}]}]}]}'),
        *('{"resourceSpans":[{"scopeSpans":[{"spans":[{"links":[5]}]}]}]}', '{"resourceSpans":["x"]}'),
    ],
)
def test_a_line_of_spans_that_is_none_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 1 is not an OTLP JSON request"):
        list(parse_lines(line, ExportTraceServiceRequest))
