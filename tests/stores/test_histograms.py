"""Durations as a store sees them: counts and sums are exact, quantiles as good as the buckets are."""

from math import inf
from pathlib import Path

import numpy as np
import pytest

from natlens.otlp.metrics.sets import chosen
from natlens.otlp.metrics.settings import HistogramKind, MetricSettings
from tests.stores.build import Binaries
from tests.stores.node import SECOND, Call, Node
from tests.stores.route import Kind, Route

STEP = 15 * SECOND
RANGE = "[20m]"
QUANTILES = (0.5, 0.9, 0.99)
# How buckets are asked for, and their sums and counts.
EXPLICIT = ("sum by (le) (increase(flow_duration_seconds_bucket[20m]))", "flow_duration_seconds_{}")
NATIVE = ("sum(increase(flow_duration_seconds[20m]))", "histogram_{}(sum(increase(flow_duration_seconds[20m])))")
RANGES = ("sum by (vmrange) (increase(flow_duration_seconds_bucket[20m]))", "flow_duration_seconds_{}")


def told(route: Route, began_ns: int, histogram: HistogramKind) -> list[float]:
    """Tell of durations over four collections, and return them all."""
    rng = np.random.default_rng(3)
    settings = MetricSettings(chosen(["zone"]), temporality=route.temporality, histogram=histogram)
    node, all_s = Node(settings, began_ns), list[float]()
    for number in range(1, 5):
        longest = number - 2  # ever longer, so that the scale falls
        now = np.round(10 ** rng.uniform(-3, longest, 300), 9).tolist()
        all_s += now
        route.send(node.collect(began_ns + number * STEP, [Call(1, 7, 400, 10, one) for one in now]))
    route.settle()
    return all_s


def check(route: Route, at_ns: int, all_s: list[float], asked: tuple[str, str], within: float) -> None:
    buckets, part = asked
    count, total = (part.format(name) for name in ("count", "sum"))
    if "increase" not in part:
        count, total = (f"sum(increase({name}{RANGE}))" for name in (count, total))
    assert route.store.one(count, at_ns) == len(all_s)
    assert route.store.one(total, at_ns) == pytest.approx(sum(all_s))
    for quantile in QUANTILES:
        found = route.store.one(f"histogram_quantile({quantile}, {buckets})", at_ns)
        true = float(np.quantile(all_s, quantile))
        assert true / within < found < true * within


def test_explicit_buckets(route: Route, began_ns: int) -> None:
    all_s = told(route, began_ns, "explicit")
    check(route, began_ns + 4 * STEP, all_s, EXPLICIT, within=6.0)  # as the widest bucket


@pytest.mark.parametrize(
    ("kind", "asked", "within"),
    [
        ("prometheus", NATIVE, 1.15),  # 160 buckets for six decades: scale 3
        ("remote-write", NATIVE, 1.15),
        ("delta", NATIVE, 1.15),
        ("victoria-metrics", RANGES, inf),  # not held: where the scale falls all buckets are other series to it
    ],
)
def test_exponential_buckets(
    kind: Kind,
    asked: tuple[str, str],
    within: float,
    began_ns: int,
    stores: Binaries,
    collector_binary: Path,
    tmp_path: Path,
) -> None:
    with Route(kind, tmp_path, stores, collector_binary) as route:
        all_s = told(route, began_ns, "exponential")
        check(route, began_ns + 4 * STEP, all_s, asked, within)
