"""What encoding points of metrics costs on one core, series known, beside the SDK's way.

Series have the attributes of the set ``owner``: a client of one of 40 namespaces called a Service of another, which a
Deployment answers. Each series has a point of every metric and direction, the histogram 16 buckets.
"""

from functools import partial

import numpy as np
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

from natlens.otlp.metrics.collection import Attributes, Collection, Explicit, Histograms, Sums
from natlens.otlp.metrics.encode import MetricsEncoder
from natlens.otlp.metrics.table import METRICS
from tests.bench.figure import median_s, say, tell
from tests.bench.shapes import RESOURCE
from tests.otlp.metrics.collections import data

__all__ = ["collection", "pointed"]

POINTS, OF_A_SERIES = 10_000, 6
SECOND = 10**9
NOW = 1_790_000_000 * SECOND
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 60.0)


def pointed() -> None:
    """10,000 points, and the same by the SDK."""
    tell("encoding of metrics")
    known = collection(-(-POINTS // OF_A_SERIES))
    points = OF_A_SERIES * len(known.series)
    encoder = MetricsEncoder(RESOURCE)
    _encode(encoder, known)
    ours = median_s(partial(_encode, encoder, known), rounds=21) / points * 1e6
    say("metrics_us_per_point", ours, "us")
    as_sdk = data(known)
    sdk = median_s(lambda: encode_metrics(as_sdk).SerializeToString(), rounds=3) / points * 1e6
    say("metrics_sdk_us_per_point", sdk, "us")


def _encode(encoder: MetricsEncoder, known: Collection) -> None:
    for _ in encoder.requests(known):
        pass


def collection(n: int) -> Collection:
    """Return a collection of n series, six points each."""
    dice, rows = np.random.default_rng(7), np.arange(n)
    sums = [
        Sums(metric, direction, rows, dice.integers(0, 1 << 40, n))
        for metric in METRICS
        if metric.kind == "sum"
        for direction, _ in metric.directions
    ]
    counts = dice.integers(0, 1000, (n, len(BOUNDS) + 1))
    total, least, most = dice.random((3, n)) * 60
    return Collection(
        series=[_series(*numbers) for numbers in zip(*np.divmod(rows, 40), dice.integers(0, 40, n), strict=True)],
        start_ns=np.full(n, NOW - 600 * SECOND),
        time_ns=NOW,
        born=np.zeros(n, np.bool_),
        temporality="cumulative",
        sums=sums,
        histograms=[
            Histograms(metric, rows, counts.sum(axis=1), total, least, most, Explicit(BOUNDS, counts))
            for metric in METRICS
            if metric.kind == "histogram"
        ],
    )


def _series(number: int, namespace: int, called: int) -> Attributes:
    return (
        ("source.k8s.namespace.name", f"namespace-{namespace}"),
        ("source.k8s.owner.name", f"client-{number}"),
        ("source.k8s.owner.type", "Deployment"),
        ("source.cloud.availability_zone", "eu-central-1a"),
        ("destination.k8s.namespace.name", f"namespace-{called}"),
        ("destination.k8s.service.name", f"service-{number % 7}"),
        ("flow.responder.k8s.namespace.name", f"namespace-{called}"),
        ("flow.responder.k8s.owner.name", f"service-{number % 7}"),
        ("flow.responder.k8s.owner.type", "Deployment"),
        ("flow.responder.cloud.availability_zone", "eu-central-1b"),
        ("network.transport", "tcp"),
    )


if __name__ == "__main__":
    pointed()
