"""One collection is the sum over the log records of the same batches, whatever these hold."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natlens.flows.connection import EndReason, Nat
from natlens.identity.endpoint import Endpoint
from natlens.otlp.arrange import arrange
from natlens.otlp.batch import Batch
from natlens.otlp.column import Value
from natlens.otlp.metrics import grouping
from natlens.otlp.metrics.collection import Attributes, Collection, Exponential
from natlens.otlp.metrics.series import Metrics
from natlens.otlp.metrics.sets import ALLOWED, RESPONDER, SETS
from tests.bench.shapes import Cluster, batch, connections
from tests.otlp.batches import batch_of, batches, connection, standing_of
from tests.otlp.metrics.calls import settings

Point = tuple[str, Attributes, str | None]
AMOUNTS = {
    ("flow.io", "forward"): "flow.bytes.delta",
    ("flow.io", "reverse"): "flow.reverse.bytes.delta",
    ("flow.packet.count", "forward"): "flow.packets.delta",
    ("flow.packet.count", "reverse"): "flow.reverse.packets.delta",
}


def modest(of: Batch) -> Batch:
    """Return the batch with counters of which no sum is too large, and times that are in order."""
    rows = of.connections.copy()
    for way in ("forward", "reverse"):
        for unit in ("octets", "packets"):
            rows[f"{way}_{unit}"] >>= np.uint64(20)
    rows["start_ns"] &= (1 << 60) - 1
    rows["end_ns"] = rows["start_ns"] + (rows["end_ns"] & (1 << 50) - 1)
    return replace(of, connections=rows)


def records(of: Batch) -> list[dict[str, Value]]:
    return [dict(row) for row in arrange(of).rows(len(of))]


def attributes(of: dict[str, Value], names: Sequence[str], *, translated: bool) -> Attributes:
    """Return a series' attributes by the log record alone."""
    answered = "destination.nat" if translated else "destination"
    values = ((name, of.get(name.replace(RESPONDER, answered))) for name in names)
    return tuple((name, value) for name, value in values if value is not None)


def expected(
    many: Iterable[Batch], names: Sequence[str], *, primary_only: bool
) -> tuple[Counter[Point], Counter[Point]]:
    """Return sums, and observations of the histogram."""
    sums, observed = Counter[Point](), Counter[Point]()
    for one in many:
        for record, nat in zip(records(one), one.connections["nat"].tolist(), strict=True):
            if primary_only and record.get("flow.primary") is False:
                continue
            series = attributes(record, names, translated=bool(nat & Nat.DNAT))
            for (metric, direction), name in AMOUNTS.items():
                sums[metric, series, direction] += record[name]  # type: ignore[assignment, operator]
            sums["flow.connection.count", series, None] += record["flow.sequence"] == 0
            observed["flow.duration", series, None] += "flow.duration" in record
    return sums, observed


def told(of: Collection | None) -> tuple[Counter[Point], Counter[Point]]:
    sums, observed = Counter[Point](), Counter[Point]()
    for points in of.sums if of else ():
        for row, value in zip(points.rows.tolist(), points.values.tolist(), strict=True):
            sums[points.metric.name, of.series[row], points.direction] = value  # type: ignore[union-attr]
    for recorded in of.histograms if of else ():
        for row, value in zip(recorded.rows.tolist(), recorded.observations.tolist(), strict=True):
            observed[recorded.metric.name, of.series[row], None] = value  # type: ignore[union-attr]
    return sums, observed


def collected(many: Iterable[Batch], names: Sequence[str], **others: object) -> Collection | None:
    metrics = Metrics(settings(attributes=tuple(names), **others), 0)
    for one in many:
        metrics.add(one)
    return metrics.collect(10**9)


@given(
    st.lists(batches().map(modest), max_size=3),
    st.sets(st.sampled_from(ALLOWED), min_size=1),
    st.booleans(),
    st.sampled_from(["cumulative", "delta"]),
)
def test_it_is_the_sum_of_the_log_records(
    many: list[Batch], chosen: set[str], primary_only: bool, temporality: str
) -> None:
    names = [name for name in ALLOWED if name in chosen]
    collection = collected(many, names, primary_only=primary_only, temporality=temporality)
    sums, observed = expected(many, names, primary_only=primary_only)
    assert told(collection) == (sums, observed)


@pytest.mark.parametrize("names", [pytest.param(names, id=name) for name, names in SETS.items()])
def test_a_realistic_window(names: Sequence[str]) -> None:
    cluster = Cluster()
    many = [batch(cluster, connections(cluster, 3000, full=full)) for full in (False, True)]
    collection = collected(many, names, series_limit=1_000_000)
    assert told(collection) == expected(many, names, primary_only=True)


def test_what_answered_counts_not_how_it_was_called() -> None:
    direct = batch_of(connection(nat=Nat.NONE), destination=Endpoint(k8s_pod_name="web-abc"), destination_nat=None)
    by_service = batch_of(destination_nat=Endpoint(k8s_pod_name="web-abc"))
    collection = collected([direct, by_service], ["flow.responder.k8s.pod.name"])
    assert collection
    assert list(collection.series) == [(("flow.responder.k8s.pod.name", "web-abc"),)]


def test_only_primary_records_count_and_those_of_which_nobody_knows() -> None:
    metrics = Metrics(settings(), 0)
    metrics.add(batch_of(*[connection()] * 4, standing=standing_of([1, 2, 4, 0], [True, False, False, False])))
    assert (metrics.added, metrics.secondary) == (2, 2)
    metrics.add(batch_of())
    assert metrics.added == 3


def test_counters_are_cut_as_in_the_log_record() -> None:
    huge = connection(forward_octets=2**64 - 1, reverse_octets=2**63)
    sums, _ = told(collected([batch_of(huge)], ["network.transport"]))
    tcp = (("network.transport", "tcp"),)
    assert sums["flow.io", tcp, "forward"] == sums["flow.io", tcp, "reverse"] == 2**63 - 1


def test_durations_are_of_connections_that_ended() -> None:
    seconds = [0.0, 0.005, 0.0051, 3600.0, 3601.0, None]
    start = 10**18
    rows = [
        connection(
            start_ns=start,
            end_ns=start + round((s or 0) * 1e9),
            end_reason=EndReason.ACTIVE_TIMEOUT if s is None else EndReason.IDLE_TIMEOUT,
        )
        for s in seconds
    ]
    collection = collected([batch_of(*rows)], ["network.transport"])
    assert collection
    (points,) = collection.histograms
    assert points.observations.tolist() == [5]
    assert points.sum[0] == pytest.approx(7201.0101)
    assert (points.least[0], points.most[0]) == (0.0, 3601.0)
    assert not isinstance(points.buckets, Exponential)
    bounds, counts = points.buckets
    assert counts[0].tolist() == [2, 1, *[0] * (len(bounds) - 3), 1, 1]


@given(batches(max_size=20), st.sets(st.sampled_from(ALLOWED), min_size=1))
def test_more_combinations_than_a_number_holds(of: Batch, chosen: set[str]) -> None:
    """With a limit of one bit every part is compressed first, and nothing changes."""
    names = [name for name in ALLOWED if name in chosen]
    rows = np.arange(len(of))
    if not len(of):
        return
    whole = grouping.Reading(names).groups(of, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grouping, "LARGEST_KEY", 1)
        apart = grouping.Reading(names).groups(of, rows)
    every, each = list(whole.attributes()), list(apart.attributes())
    assert [every[code] for code in whole.codes.tolist()] == [each[code] for code in apart.codes.tolist()]
    assert len(set(each)) == len(each)
