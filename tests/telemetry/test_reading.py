"""What the SDK collects is what Health counted, to the last one."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric, Sum

from natlens.errors import KernelError
from natlens.health import Health, Key
from natlens.kernel.structs import COUNTERS
from natlens.telemetry.meters import SCOPE, provide
from natlens.telemetry.reading import Points, points
from natlens.telemetry.table import METRICS, find

ATTRIBUTES = {"records_rejected": "code", "records_dropped": "reason", "identity_broken": "code"}
PLAIN = ["records_captured", "records_exported", "octets_ambiguous", *(f"kernel_{name}" for name in COUNTERS)]


def collected(reader: InMemoryMetricReader) -> dict[str, Metric]:
    data = reader.get_metrics_data()
    assert data
    ((scope,),) = ([*one.scope_metrics] for one in data.resource_metrics)
    assert scope.scope.name == SCOPE
    return {metric.name: metric for metric in scope.metrics}


def values(metric: Metric) -> dict[tuple[tuple[str, object], ...], float]:
    return {
        tuple(sorted((point.attributes or {}).items())): point.value  # type: ignore[union-attr]
        for point in metric.data.data_points
    }


added = st.tuples(st.sampled_from([*PLAIN, *ATTRIBUTES]), st.integers(0, 1 << 40), st.sampled_from(["a", "b", "é"]))


@given(st.lists(added, max_size=40))
def test_sums_equal_those_of_health(adds: list[tuple[str, int, str]]) -> None:
    health, expected = Health(), defaultdict[str, int](int)
    for name, value, word in adds:
        health.add(name, value, **({ATTRIBUTES[name]: word} if name in ATTRIBUTES else {}))
        found = find(name)
        assert found
        expected[found[0].name] += value
    reader = InMemoryMetricReader()
    provider = provide(reader, lambda: points(health))
    sums = {name: sum(values(metric).values()) for name, metric in collected(reader).items()}
    provider.shutdown()
    assert {name: sums.get(name, 0) for name in expected} == expected
    assert not {name: total for name, total in sums.items() if total and name not in expected}


def test_collections_go_on_from_one_another() -> None:
    health, reader = Health(), InMemoryMetricReader()
    provider = provide(reader, lambda: points(health))
    for total in (3, 10):
        health.add("records_exported", total - health.count("records_exported"))
        data = collected(reader)["otel.sdk.exporter.log.exported"].data
        assert isinstance(data, Sum)
        assert data.is_monotonic
        assert {point.value for point in data.data_points if not point.attributes} == {total}
    provider.shutdown()


def test_record_account_balances_in_one_collection() -> None:
    health, reader = Health(), InMemoryMetricReader()
    health.add("records_captured", 100)
    health.add("records_exported", 50)
    health.add("records_rejected", 20, code="http_400")
    health.add("records_dropped", 25, reason="queue_full")
    health.set("records_pending", 5)
    provider = provide(reader, lambda: points(health))
    found = collected(reader)
    exported = values(found["otel.sdk.exporter.log.exported"])
    assert exported[()] == 50
    assert exported[(("error.type", "http_400"),)] == 20
    assert exported[(("error.type", "queue_full"),)] == 25
    assert exported[(("error.type", "shutdown"),)] == 0
    created, inflight = (values(found[name])[()] for name in ("otel.sdk.log.created", "otel.sdk.exporter.log.inflight"))
    assert created == sum(exported.values()) + inflight == 100
    provider.shutdown()


def test_units_and_ages() -> None:
    now = [100.0]
    health = Health(lambda: now[0])
    with health.timed("window_stage", stage="join"):
        now[0] += 0.25
    health.time("window_stage", 0.5, stage="join")
    health.mark("window")
    health.set("identity_heard_s", 1_000.0, resource="pods")
    now[0] += 2
    told = points(health, now_s=lambda: 1_060.0)
    assert told["natlens.window.stage.time"] == {(("natlens.stage", "join"),): 0.75}
    assert told["natlens.window.stage.count"] == {(("natlens.stage", "join"),): 2}
    assert told["natlens.window.age"] == {(): 2}
    assert told["natlens.identity.heard.age"] == {(("natlens.resource", "pods"),): 60}


def test_counters_are_there_before_anything_happened() -> None:
    told = points(Health())
    assert told["natlens.capture.lost.packets"] == {
        (("error.type", word),): 0 for word in ("full", "memory", "window_missing")
    }
    assert told["natlens.capture.unparsed"].keys() == {
        (("error.type", name.removeprefix("unparsed_")),) for name in COUNTERS if name.startswith("unparsed_")
    }
    assert told["natlens.connection.ambiguous.io"] == {(): 0}
    assert "natlens.identity.synced" not in told


def test_readers_tell_more_and_one_that_fails_takes_nothing_else_along(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> dict[Key, float]:
        raise KernelError("account of fd 7: gone")

    def tells() -> dict[Key, float]:
        return {("map_capacity", (("map", "rows"),)): 1024}

    told = points(Health(), [fails, tells])
    assert told["natlens.map.capacity"] == {(("natlens.map.name", "rows"),): 1024}
    assert caplog.messages == ["some of natlens' own metrics are missing: account of fd 7: gone"]


def test_every_instrument_is_made_as_its_row_says() -> None:
    reader = InMemoryMetricReader()
    everything: Points = {metric.name: {(): 1.0} for metric in METRICS}
    provider = provide(reader, lambda: everything)
    found = collected(reader)
    assert [*found] == [metric.name for metric in METRICS]
    for metric in METRICS:
        made = found[metric.name]
        assert (made.unit, made.description) == (metric.unit, metric.brief)
        kind = {True: "counter", False: "updown", None: "gauge"}[getattr(made.data, "is_monotonic", None)]
        assert kind == metric.instrument
    provider.shutdown()
