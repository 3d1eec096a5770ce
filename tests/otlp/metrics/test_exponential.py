"""Exponential buckets are the SDK's, in whatever order and portions the values come."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.sdk.metrics._internal.aggregation import _ExponentialBucketHistogramAggregation
from opentelemetry.sdk.metrics._internal.exemplar import SimpleFixedSizeExemplarReservoir
from opentelemetry.sdk.metrics._internal.measurement import Measurement
from opentelemetry.sdk.metrics.export import AggregationTemporality, ExponentialHistogramDataPoint

from natlens.otlp.metrics.exponential import FINEST, WIDTH, ExponentialBuckets, index_of

DURATIONS = st.integers(0, 10**15).map(lambda ns: ns / 1e9) | st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 1024.0])
"""In s, as connections have them: whole nanoseconds, up to eleven days."""


def sdk(values: list[float]) -> ExponentialHistogramDataPoint:
    delta = AggregationTemporality.DELTA
    reservoir: Any = SimpleFixedSizeExemplarReservoir
    aggregation: Any = _ExponentialBucketHistogramAggregation({}, reservoir, delta, 0)
    for value in values:
        measurement = Measurement(value, 0, None, Context(), {})  # type: ignore[arg-type]  # of no instrument
        aggregation.aggregate(measurement, should_sample_exemplar=False)
    point = aggregation.collect(delta, 1)
    assert isinstance(point, ExponentialHistogramDataPoint)
    return point


def added(portions: list[list[tuple[int, float]]], slots: int) -> ExponentialBuckets:
    buckets = ExponentialBuckets()
    buckets.grow(1)
    buckets.grow(slots)
    for portion in portions:
        where = np.array([slot for slot, _ in portion], np.intp)
        buckets.add(where, np.array([value for _, value in portion], np.float64))
    return buckets


@given(st.lists(st.lists(st.tuples(st.integers(0, 2), DURATIONS), max_size=30), max_size=5))
@example([[(0, 1e-9)], [(0, 1e6)], [(0, 1.0), (0, 0.0)]])
def test_they_are_the_sdks(portions: list[list[tuple[int, float]]]) -> None:
    points = added(portions, 3).points(np.arange(3))
    for slot in range(3):
        values = [value for portion in portions for where, value in portion if where == slot]
        if not values:
            assert not points.counts[slot].any()
            assert points.zeros[slot] == 0
            continue
        expected = sdk(values)
        assert points.zeros[slot] == expected.zero_count
        if any(values):
            counted = points.counts[slot]
            assert np.trim_zeros(counted, "b").tolist() == np.trim_zeros(expected.positive.bucket_counts, "b")
            assert points.offset[slot] == expected.positive.offset
            assert points.scale[slot] == expected.scale
        else:
            assert points.scale[slot] == FINEST  # the SDK says 0, at which what merges loses all detail
            assert not points.counts[slot].any()


@pytest.mark.parametrize("scale", [20, 8, 3, 1])
def test_a_bucket_has_its_upper_bound(scale: int) -> None:
    powers = np.exp2(np.arange(-30, 30, dtype=np.float64))
    below, above = np.nextafter(powers, 0), np.nextafter(powers, np.inf)
    exponents = np.arange(-30, 30) << scale
    assert (index_of(powers) >> (FINEST - scale) == exponents - 1).all()
    assert (index_of(below) >> (FINEST - scale) == exponents - 1).all()
    assert (index_of(above) >> (FINEST - scale) == exponents).all()


def test_the_widest_range_fits() -> None:
    extremes = np.array([5e-324, 1e-9, 1.0, 1e9, 1.7e308])
    buckets = ExponentialBuckets()
    buckets.grow(1)
    buckets.add(np.zeros(5, np.intp), extremes)
    points = buckets.points(np.zeros(1, np.intp))
    assert points.counts.sum() == 5
    assert points.counts.shape == (1, WIDTH)
    bounds = (points.offset[0] + np.arange(WIDTH + 1)) * 2.0 ** -points.scale[0]  # their binary logarithms
    for value in extremes:
        at = np.searchsorted(bounds, np.log2(value), "left") - 1
        assert points.counts[0, at] >= 1


def test_a_cleared_slot_begins_anew() -> None:
    buckets = added([[(0, 1e-9), (0, 1e9), (0, 0.0), (1, 3.0)]], 2)
    buckets.clear(np.array([0]))
    buckets.add(np.array([0], np.intp), np.array([3.0]))
    points = buckets.points(np.arange(2))
    for column in points:
        assert (column[0] == column[1]).all()
    assert points.scale.tolist() == [FINEST, FINEST]
