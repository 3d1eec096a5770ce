"""Collections for tests: hypothesis strategies for arbitrary ones, and any of them as the SDK's data."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics._internal.point import Buckets  # no public name, and a point of ours needs it
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from natlens import __version__
from natlens.otlp.metrics.collection import (
    OVERFLOW,
    Attributes,
    Collection,
    Explicit,
    Exponential,
    Histograms,
    Sums,
)
from natlens.otlp.metrics.sets import ALLOWED
from natlens.otlp.metrics.table import DIRECTION, METRICS, Direction, Metric
from natlens.otlp.record import SCHEMA_URL
from tests.otlp.test_record import HERE

SECOND = 10**9
NOW = 1_764_000_000 * SECOND
OVER = {"cumulative": sdk.AggregationTemporality.CUMULATIVE, "delta": sdk.AggregationTemporality.DELTA}
SUMS = [metric for metric in METRICS if metric.kind == "sum"]
HISTOGRAMS = [metric for metric in METRICS if metric.kind == "histogram"]

Named = dict[str, Any]

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(["shop", "x" * 300])
VALUES = TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.just(("a", "")) | st.floats(allow_nan=False)
SERIES: st.SearchStrategy[Attributes] = st.dictionaries(st.sampled_from(ALLOWED), VALUES, max_size=6).map(
    lambda values: tuple(values.items())
) | st.just(OVERFLOW)
COUNTS = st.integers(0, 300) | st.integers(0, 2**63 - 1)


@st.composite
def collections(draw: st.DrawFn, max_size: int = 6) -> Collection:
    """Any series, times and numbers; some metrics have points of some series."""
    series = draw(st.lists(SERIES, max_size=max_size))
    n = len(series)
    starts = draw(st.sampled_from([[NOW], [NOW - SECOND, NOW], [NOW - 1, NOW - 3, NOW]]))
    of_sums = st.sampled_from(
        [(metric, direction) for metric in SUMS for direction, _ in (*metric.directions, (None, None))]
    )
    return Collection(
        series=series,
        start_ns=draw(nps.arrays(np.int64, n, elements=st.sampled_from(starts))),
        time_ns=NOW + draw(st.integers(1, SECOND)),
        born=draw(nps.arrays(np.bool_, n)),
        temporality=draw(st.sampled_from(("cumulative", "delta"))),
        sums=[draw(sums(n, *one)) for one in sorted(draw(st.lists(of_sums, unique=True)), key=lambda one: one[0].name)],
        histograms=[draw(histograms(n, metric)) for metric in draw(st.lists(st.sampled_from(HISTOGRAMS), unique=True))],
    )


def rows_of(n: int) -> st.SearchStrategy[npt.NDArray[np.intp]]:
    """Some of n series."""
    return nps.arrays(np.bool_, n).map(np.flatnonzero)


@st.composite
def sums(draw: st.DrawFn, n: int, metric: Metric, direction: Direction | None) -> Sums:
    """Any numbers."""
    rows = draw(rows_of(n))
    return Sums(metric, direction, rows, draw(nps.arrays(np.int64, len(rows), elements=COUNTS)))


@st.composite
def histograms(draw: st.DrawFn, n: int, metric: Metric) -> Histograms:
    """Any numbers, whether or not they agree; some points have seen nothing."""
    rows = draw(rows_of(n))
    m = len(rows)
    observations = draw(nps.arrays(np.int64, m, elements=st.just(0) | COUNTS))
    real = nps.arrays(np.float64, m, elements=st.floats(0, 1e6))
    least, most = (np.where(observations > 0, draw(real), np.nan) for _ in range(2))
    buckets: Explicit | Exponential = draw(st.one_of(explicit(m), exponential(m)))
    return Histograms(metric, rows, observations, draw(real), least, most, buckets)


@st.composite
def explicit(draw: st.DrawFn, m: int) -> Explicit:
    """Any bounds, none too."""
    bounds = sorted(draw(st.lists(st.floats(0, 1e4), max_size=5, unique=True)))
    return Explicit(tuple(bounds), draw(nps.arrays(np.int64, (m, len(bounds) + 1), elements=COUNTS)))


@st.composite
def exponential(draw: st.DrawFn, m: int) -> Exponential:
    """Any scale and offset; zeros in most buckets, often at the end."""
    width = draw(st.integers(0, 6))

    def each(elements: st.SearchStrategy[int]) -> npt.NDArray[np.int64]:
        return draw(nps.arrays(np.int64, m, elements=elements))

    counts = draw(nps.arrays(np.int64, (m, width), elements=COUNTS, fill=st.just(0)))
    return Exponential(each(st.integers(-10, 20)), each(COUNTS), each(st.integers(-(2**31), 2**31 - 1)), counts)


def by_sdk(collection: Collection) -> ExportMetricsServiceRequest:
    """Return what the SDK's encoder makes of the collection's points, all in one request and without births."""
    return encode_metrics(data(collection))


def data(collection: Collection) -> sdk.MetricsData:
    """Return the collection as the SDK has it: a metric of no points is none."""
    metrics = [
        *_sums(collection),
        *(_metric(one.metric, _histogram(collection, one)) for one in collection.histograms if len(one.rows)),
    ]
    scope = InstrumentationScope("natlens", __version__, SCHEMA_URL)
    observer = Resource({one.key: one.value.string_value for one in HERE.attributes}, SCHEMA_URL)
    of_scope = sdk.ScopeMetrics(scope, metrics, SCHEMA_URL)
    return sdk.MetricsData([sdk.ResourceMetrics(observer, [of_scope], SCHEMA_URL)] if metrics else [])


def _metric(metric: Metric, of_it: sdk.DataT) -> sdk.Metric:
    return sdk.Metric(metric.name, metric.brief, metric.unit, of_it)


def _sums(of: Collection) -> Iterable[sdk.Metric]:
    for metric, group in groupby(of.sums, lambda one: one.metric):
        if points := [point for one in group for point in _numbers(of, one)]:
            yield _metric(metric, sdk.Sum(points, OVER[of.temporality], is_monotonic=True))


def _numbers(of: Collection, points: Sums) -> Iterable[sdk.NumberDataPoint]:
    direction: Named = {DIRECTION: points.direction} if points.direction else {}
    for row, value in zip(points.rows.tolist(), points.values.tolist(), strict=True):
        attributes = direction | dict(of.series[row])
        yield sdk.NumberDataPoint(attributes, int(of.start_ns[row]), of.time_ns, value)


def _histogram(of: Collection, points: Histograms) -> sdk.Histogram | sdk.ExponentialHistogram:
    over, buckets, each = OVER[of.temporality], points.buckets, range(len(points.rows))
    if isinstance(buckets, Explicit):
        return sdk.Histogram([_explicit(of, points, buckets, at) for at in each], over)
    return sdk.ExponentialHistogram([_exponential(of, points, buckets, at) for at in each], over)


def _explicit(of: Collection, points: Histograms, buckets: Explicit, at: int) -> sdk.HistogramDataPoint:
    return sdk.HistogramDataPoint(
        **_common(of, points, at), bucket_counts=buckets.counts[at].tolist(), explicit_bounds=buckets.bounds
    )


def _exponential(
    of: Collection, points: Histograms, buckets: Exponential, at: int
) -> sdk.ExponentialHistogramDataPoint:
    counts = buckets.counts[at].tolist()
    while counts and not counts[-1]:
        counts.pop()
    return sdk.ExponentialHistogramDataPoint(
        **_common(of, points, at),
        scale=int(buckets.scale[at]),
        zero_count=int(buckets.zeros[at]),
        positive=Buckets(int(buckets.offset[at]), counts),
        negative=Buckets(0, []),
        flags=0,
    )


def _common(of: Collection, points: Histograms, at: int) -> dict[str, Any]:
    row, seen = points.rows[at], points.observations[at] > 0
    return {
        "attributes": dict(of.series[row]),
        "start_time_unix_nano": int(of.start_ns[row]),
        "time_unix_nano": of.time_ns,
        "count": int(points.observations[at]),
        "sum": float(points.sum[at]),
        "min": float(points.least[at]) if seen else None,
        "max": float(points.most[at]) if seen else None,
    }
