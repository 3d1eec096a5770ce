"""The metrics' encoder: its bytes are the SDK's message, whatever the collections hold; births go first."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from natlens.otlp.metrics.collection import OVERFLOW, Collection, Explicit, Exponential, Histograms, Sums
from natlens.otlp.metrics.encode import MetricsEncoder
from natlens.otlp.metrics.encode_births import births
from natlens.otlp.metrics.table import METRICS
from natlens.otlp.request import Request
from tests.otlp.metrics.collections import NOW, SECOND, by_sdk, collections
from tests.otlp.test_record import HERE

IO, PACKETS, CONNECTIONS, DURATION = METRICS


def decoded(request: Request) -> ExportMetricsServiceRequest:
    return in_order(ExportMetricsServiceRequest.FromString(request.data))


def in_order(request: ExportMetricsServiceRequest) -> ExportMetricsServiceRequest:
    """Put the resource's attributes in order: OTLP gives them none, and the SDK has them as they came."""
    for of_resource in request.resource_metrics:
        of_resource.resource.attributes.sort(key=lambda one: one.key)
    return request


def points(request: ExportMetricsServiceRequest) -> list[tuple[str, bytes]]:
    """Return each point, with the name of its metric."""
    found = []
    for metric in request.resource_metrics[0].scope_metrics[0].metrics:
        kind = metric.WhichOneof("data")
        assert kind is not None
        found += [(metric.name, point.SerializeToString()) for point in getattr(metric, kind).data_points]
    return found


def times(request: ExportMetricsServiceRequest) -> set[int]:
    (of_resource,) = request.resource_metrics
    found = set()
    for metric in of_resource.scope_metrics[0].metrics:
        kind = metric.WhichOneof("data")
        assert kind is not None
        found |= {point.time_unix_nano for point in getattr(metric, kind).data_points}
    return found


def expected(collection: Collection) -> list[ExportMetricsServiceRequest]:
    made = [in_order(by_sdk(one)) for one in (*births(collection), collection)]
    return [one for one in made if one.resource_metrics]


@given(collections())
def test_any_collection_decodes_to_the_sdks_messages(collection: Collection) -> None:
    assert [decoded(one) for one in MetricsEncoder(HERE).requests(collection)] == expected(collection)


@given(st.lists(collections(), min_size=2, max_size=3))
def test_an_encoder_that_has_seen_others_makes_the_same_bytes(many: list[Collection]) -> None:
    encoder = MetricsEncoder(HERE)
    for one in [*many, many[0]]:
        assert list(encoder.requests(one)) == list(MetricsEncoder(HERE).requests(one))


@given(collections(), st.integers(1, 7))
def test_split_requests_are_together_the_whole(collection: Collection, most: int) -> None:
    split = list(MetricsEncoder(HERE, request_points=most).requests(collection))
    whole = [point for one in expected(collection) for point in points(one)]
    assert [point for one in split for point in points(decoded(one))] == whole
    assert all(1 <= one.records <= most and one.signal == "metrics" for one in split)
    assert [one.records for one in split] == [len(points(decoded(one))) for one in split]


@given(collections(), st.integers(700, 3000))
def test_requests_keep_the_limit_unless_one_point_is_larger(collection: Collection, most: int) -> None:
    split = list(MetricsEncoder(HERE, request_bytes=most).requests(collection))
    assert all(len(one.data) <= most or one.records == 1 for one in split)
    whole = [point for one in expected(collection) for point in points(one)]
    assert [point for one in split for point in points(decoded(one))] == whole


@given(collections(), st.integers(1, 7))
def test_each_request_has_one_time_and_none_goes_back(collection: Collection, most: int) -> None:
    each = [times(decoded(one)) for one in MetricsEncoder(HERE, request_points=most).requests(collection)]
    assert all(len(one) == 1 for one in each)
    assert all(max(before) <= min(after) for before, after in pairwise(each))


@given(collections())
def test_series_are_born_with_0_at_their_start(collection: Collection) -> None:
    zeros = list(births(collection))
    for one in zeros:
        assert one.time_ns < collection.time_ns
        for rows in [*(part.rows for part in one.sums), *(part.rows for part in one.histograms)]:
            assert collection.born[rows].all()
            assert (collection.start_ns[rows] == one.time_ns).all()
        assert not any(part.values.any() for part in one.sums)
        assert not any(part.sum.any() or part.buckets.counts.any() for part in one.histograms)
    for at, part in enumerate(collection.sums):
        born = [row for one in zeros for row in one.sums[at].rows.tolist()]
        assert sorted(born) == part.rows[collection.born[part.rows]].tolist()
    for at, histogram in enumerate(collection.histograms):
        born = [row for one in zeros for row in one.histograms[at].rows.tolist()]
        assert sorted(born) == histogram.rows[collection.born[histogram.rows]].tolist()


def many(n: int, *, name: str = "shop") -> Collection:
    """Return a collection of n series that has a sum in two directions and both kinds of histogram."""
    rows, ones = np.arange(n), np.ones(n, np.int64)
    reals = np.full(n, 0.25)
    bounds = (0.1, 1.0)
    counts = np.tile([0, 1, 0], (n, 1))
    seen = (rows, ones, reals, reals, reals)
    return Collection(
        series=[(("source.k8s.namespace.name", f"{name}-{at}"),) for at in range(n)],
        start_ns=np.full(n, NOW - SECOND),
        time_ns=NOW,
        born=rows % 2 == 0,
        temporality="cumulative",
        sums=[Sums(IO, "forward", rows, ones * 300), Sums(IO, "reverse", rows, ones), Sums(PACKETS, None, rows, ones)],
        histograms=[
            Histograms(DURATION, *seen, Explicit(bounds, counts)),
            Histograms(CONNECTIONS, *seen, Exponential(ones * 3, ones * 0, ones * -7, counts)),
        ],
    )


def test_many_points_are_the_sdks_and_split_under_the_default_limits() -> None:
    collection = many(2000, name="x" * 900)
    split = list(MetricsEncoder(HERE).requests(collection))
    assert all(len(one.data) <= 4_000_000 and one.records <= 4000 for one in split)
    assert max(len(one.data) for one in split) > 3_990_000
    assert sum(one.records for one in split) == 5 * 3000
    whole = [point for one in expected(collection) for point in points(one)]
    assert [point for one in split for point in points(decoded(one))] == whole


@pytest.mark.parametrize("observed", [0, 1])
def test_a_histogram_point_has_only_what_was_observed(observed: int) -> None:
    none, two = np.zeros(2, np.int64), many(2)
    counts = np.array([[0, 0, 0, 0], [0, 300, 7, 0]])
    seen = np.array([0, 307 * observed])
    reals = np.where(seen > 0, 0.25, np.nan)
    exponential = Exponential(none - 3, none, none - 500, counts * observed)
    points = Histograms(DURATION, np.arange(2), seen, np.zeros(2), reals, reals, exponential)
    (request,) = MetricsEncoder(HERE).requests(two._replace(sums=[], histograms=[points], born=seen < 0))
    (metric,) = decoded(request).resource_metrics[0].scope_metrics[0].metrics
    first, second = metric.exponential_histogram.data_points
    assert not any(first.HasField(field) for field in ("min", "max", "positive"))
    assert [second.HasField(field) for field in ("min", "max", "positive")] == [bool(observed)] * 3
    assert list(second.positive.bucket_counts) == [0, 300, 7][: 3 * observed]
    assert (second.positive.offset, second.scale, second.count) == (-500 * observed, -3, 307 * observed)


def test_directions_of_a_metric_are_one_metric() -> None:
    (born, request) = MetricsEncoder(HERE).requests(many(2))
    names = [metric.name for metric in decoded(request).resource_metrics[0].scope_metrics[0].metrics]
    assert names == ["flow.io", "flow.packet.count", "flow.duration", "flow.connection.count"]
    assert born.records == 5
    assert times(decoded(born)) == {NOW - SECOND}


def test_a_point_with_a_name_of_megabytes_is_a_request_of_its_own() -> None:
    three = many(3)._replace(born=np.zeros(3, np.bool_), histograms=[])
    series = [three.series[0], (("source.k8s.namespace.name", "x" * 5_000_000),), OVERFLOW]
    split = list(MetricsEncoder(HERE).requests(three._replace(series=series)))
    assert [one.records for one in split] == [1, 1, 2, 1, 2, 1, 1]
    assert sum(len(one.data) > 5_000_000 for one in split) == 3


@pytest.mark.parametrize("n", [0, 1])
def test_a_collection_of_no_points_is_no_request(n: int) -> None:
    nothing = many(n)._replace(sums=[], histograms=[])
    assert list(MetricsEncoder(HERE).requests(nothing)) == []
