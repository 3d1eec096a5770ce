"""Births: that a series was 0 when it began, said to stores before anything else of it."""

from collections.abc import Iterator

import numpy as np

from natlens.otlp.metrics.collection import Collection, Exponential, Histograms, Sums
from natlens.otlp.metrics.encode_points import taken

__all__ = ["births"]


def births(collection: Collection) -> Iterator[Collection]:
    """Yield points of 0 of the born series: a collection for each time at which some began, earliest first.

    A store's ``increase`` counts from the first point that it has, so without these what a series has at first would
    be lost. Of delta too: the Collector's ``delta_to_cumulative`` passes the first point on, whatever it tells.
    """
    for start_ns in np.unique(collection.start_ns[collection.born]).tolist():
        here = collection.born & (collection.start_ns == start_ns)
        yield collection._replace(
            time_ns=start_ns,
            sums=[_sums(taken(one, here[one.rows])) for one in collection.sums],
            histograms=[_histograms(taken(one, here[one.rows])) for one in collection.histograms],
        )


def _sums(of: Sums) -> Sums:
    return of._replace(values=np.zeros_like(of.values))


def _histograms(of: Histograms) -> Histograms:
    unknown = np.full(len(of.rows), np.nan)
    empty = of.buckets._replace(counts=np.zeros_like(of.buckets.counts))
    return of._replace(
        observations=np.zeros_like(of.observations),
        sum=np.zeros_like(of.sum),
        least=unknown,
        most=unknown,
        buckets=empty._replace(zeros=np.zeros_like(empty.zeros)) if isinstance(empty, Exponential) else empty,
    )
