"""Cutting requests."""

from collections.abc import Callable, Iterator

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ScopeMetrics

from natlens.delivery.halve import halve, within
from natlens.otlp.request import Request, Signal
from tests.delivery.account import parsed_as, request_of, sequences, units_of
from tests.delivery.conftest import SIGNALS

Described = list[tuple[str, ...]]
"""The resource, the scope, the metric and the time of each record, point or span."""

# How many records each scope of each resource has; of metrics: each metric of each scope, and its kind.
SCOPES = st.lists(st.lists(st.integers(0, 4), max_size=3), max_size=3).filter(lambda counts: sum(map(sum, counts)) > 1)
METRIC = st.tuples(
    st.sampled_from(["sum", "gauge", "histogram", "exponential_histogram", "summary"]), st.integers(0, 4)
)
METRICS = st.lists(st.lists(st.lists(METRIC, max_size=3), max_size=2), max_size=2)


def logs(counts: list[list[int]]) -> Request:
    message, times = ExportLogsServiceRequest(), iter(range(1000))
    for at, scopes in enumerate(counts):
        of_resource = message.resource_logs.add(schema_url=f"resource/{at}")
        for of, count in enumerate(scopes):
            of_scope = of_resource.scope_logs.add(schema_url=f"scope/{at}/{of}")
            for _ in range(count):
                of_scope.log_records.add(time_unix_nano=next(times))
    return Request(message.SerializeToString(), next(times), "logs")


def spans(counts: list[list[int]]) -> Request:
    message, times = ExportTraceServiceRequest(), iter(range(1000))
    for at, scopes in enumerate(counts):
        of_resource = message.resource_spans.add(schema_url=f"resource/{at}")
        for of, count in enumerate(scopes):
            of_scope = of_resource.scope_spans.add(schema_url=f"scope/{at}/{of}")
            for _ in range(count):
                of_scope.spans.add(start_time_unix_nano=next(times))
    return Request(message.SerializeToString(), next(times), "traces")


def metrics(counts: list[list[list[tuple[str, int]]]]) -> Request:
    message, times = ExportMetricsServiceRequest(), iter(range(1000))
    for at, scopes in enumerate(counts):
        of_resource = message.resource_metrics.add(schema_url=f"resource/{at}")
        for of, several in enumerate(scopes):
            _add_metrics(of_resource.scope_metrics.add(schema_url=f"scope/{at}/{of}"), several, times)
    return Request(message.SerializeToString(), next(times), "metrics")


def _add_metrics(of_scope: ScopeMetrics, several: list[tuple[str, int]], times: Iterator[int]) -> None:
    for number, (kind, count) in enumerate(several):
        metric = of_scope.metrics.add(name=f"{kind}/{number}", unit="By", description="x")
        getattr(metric, kind).SetInParent()
        if kind == "sum":
            metric.sum.is_monotonic = True
        for _ in range(count):
            getattr(metric, kind).data_points.add(time_unix_nano=next(times))


def described(request: Request) -> Described:
    match parsed_as(request.signal, request.data):
        case ExportLogsServiceRequest() as logs:
            return [
                (of.schema_url, scope.schema_url, str(one.time_unix_nano))
                for of in logs.resource_logs for scope in of.scope_logs for one in scope.log_records
            ]  # fmt: skip
        case ExportTraceServiceRequest() as traces:
            return [
                (of.schema_url, scope.schema_url, str(one.start_time_unix_nano))
                for of in traces.resource_spans for scope in of.scope_spans for one in scope.spans
            ]  # fmt: skip
        case ExportMetricsServiceRequest() as points:
            return [
                (of.schema_url, scope.schema_url, _head(metric), str(one.time_unix_nano))
                for of in points.resource_metrics for scope in of.scope_metrics for metric in scope.metrics
                for one in getattr(metric, metric.WhichOneof("data") or "").data_points
            ]  # fmt: skip
    raise AssertionError(request)


def _head(metric: Metric) -> str:
    """Return all that a metric says besides its points."""
    head = Metric()
    head.CopyFrom(metric)
    getattr(head, head.WhichOneof("data") or "").ClearField("data_points")
    return str(head)


def check_halves(whole: Request) -> None:
    first, second = halve(whole)
    assert described(first) + described(second) == described(whole)
    assert abs(first.records - second.records) <= 1
    for half in (first, second):
        rows, text = described(half), str(parsed_as(half.signal, half.data))
        assert (half.records, half.signal) == (len(rows), whole.signal)
        # Nothing stands there without a record, point or span in it.
        assert text.count('"resource/') == len({row[:1] for row in rows})
        assert text.count('"scope/') == len({row[:2] for row in rows})
        assert text.count('name: "') == len({row[:3] for row in rows if len(row) == 4})


@given(SCOPES, st.sampled_from([logs, spans]))
def test_halves_have_the_records_in_order_each_in_its_resource_and_scope(
    counts: list[list[int]], make: Callable[[list[list[int]]], Request]
) -> None:
    check_halves(make(counts))


@given(METRICS.map(metrics).filter(lambda whole: whole.records > 1))
def test_halves_have_the_points_in_order_each_in_its_metric(whole: Request) -> None:
    check_halves(whole)


def test_births_stay_before_all_others() -> None:
    whole = metrics([[[("sum", 3), ("sum", 0), ("sum", 8)]]])  # the births, then the points of the collection
    first, second = halve(whole)
    assert [row[2:] for row in described(first)] == [row[2:] for row in described(whole)[:5]]
    assert all('"sum/2"' in row[2] for row in described(second))


@given(st.integers(1, 40), st.integers(1, 3000), st.sampled_from(SIGNALS))
def test_parts_are_within_the_limit_or_single_records(count: int, limit: int, signal: Signal) -> None:
    whole = request_of(count, record_bytes=100, signal=signal)
    parts = list(within(whole, limit))
    assert [number for part in parts for number in sequences(units_of(signal, part.data))] == list(range(count))
    assert all(len(part.data) <= limit or part.records == 1 for part in parts)
    assert {part.signal for part in parts} == {signal}


def test_what_is_within_the_limit_is_left_as_it_is(signal: Signal) -> None:
    whole = request_of(3, signal=signal)
    assert list(within(whole, len(whole.data))) == [whole]


def test_a_metric_of_no_known_kind_has_no_points_and_goes() -> None:
    message = ExportMetricsServiceRequest.FromString(metrics([[[("sum", 2)]]]).data)
    message.resource_metrics[0].scope_metrics[0].metrics.add(name="of tomorrow")
    halves = halve(Request(message.SerializeToString(), 2, "metrics"))
    assert [len(described(half)) for half in halves] == [1, 1]
