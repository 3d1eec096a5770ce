"""Sampled connections stand for so many: sums, counts and buckets are scaled up, what was observed is not."""

from typing import Literal

import numpy as np
import pytest

from natlens.otlp.metrics.collection import Collection, Explicit, Exponential
from natlens.otlp.metrics.series import Metrics
from tests.otlp.batches import batch_of, connection
from tests.otlp.metrics.calls import settings

SECOND = 1_000_000_000
RATE = 100


def collected(scale: int, histogram: Literal["explicit", "exponential"], *, huge: bool = False) -> Collection:
    metrics = Metrics(settings(scale=scale, histogram=histogram), 0)
    octets = 2**62 if huge else 500
    metrics.add(batch_of(connection(sequence=0, forward_octets=octets), connection(forward_octets=7)))
    found = metrics.collect(SECOND)
    assert found
    return found


@pytest.mark.parametrize("histogram", ["explicit", "exponential"])
def test_everything_counts_so_many_times(histogram: Literal["explicit", "exponential"]) -> None:
    one, many = collected(1, histogram), collected(RATE, histogram)
    assert [points.values.tolist() for points in many.sums] == [(points.values * RATE).tolist() for points in one.sums]
    assert sum(int(points.values.sum()) for points in one.sums) > 500
    for plain, scaled in zip(one.histograms, many.histograms, strict=True):
        assert scaled.observations.tolist() == (plain.observations * RATE).tolist() == [2 * RATE]
        assert np.allclose(scaled.sum, plain.sum * RATE)
        assert (scaled.least.tolist(), scaled.most.tolist()) == (plain.least.tolist(), plain.most.tolist())
        assert (scaled.buckets.counts == plain.buckets.counts * RATE).all()
        if isinstance(scaled.buckets, Exponential) and isinstance(plain.buckets, Exponential):
            assert scaled.buckets.scale.tolist() == plain.buckets.scale.tolist()
        else:
            assert isinstance(scaled.buckets, Explicit)
            assert scaled.buckets.counts.sum() == 2 * RATE


def test_what_does_not_fit_is_cut_not_negative() -> None:
    values = collected(RATE, "explicit", huge=True).sums[0].values
    assert (values > 2**62).all()
