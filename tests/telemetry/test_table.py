"""The table knows everything that any layer counts, and says of each what to do or why nothing is to be done."""

import re
from fnmatch import fnmatchcase

import pytest
from opentelemetry.semconv._incubating.metrics import otel_metrics, process_metrics

from natlens.kernel.structs import COUNTERS
from natlens.otlp.request import UNITS
from natlens.telemetry.row import Alert, Metric, Source
from natlens.telemetry.table import METRICS, find
from tests.telemetry.names import names_added

STANDARD = {
    value for module in (otel_metrics, process_metrics) for name, value in vars(module).items() if name.isupper()
}
SOURCES = [source for metric in METRICS for source in metric.sources]


def has_row(name: str) -> bool:
    if "*" not in name:
        return find(name) is not None
    return any(fnmatchcase(source.name, name) for source in SOURCES)


def test_every_name_that_a_layer_adds_has_a_row() -> None:
    found = names_added()
    assert {"records_pending", "identity_broken", "identity_requests", "kernel_*", "primary_unsure"} <= {*found} | {
        name.replace("*", "records") for name in found
    }
    assert {name: files for name, files in found.items() if not has_row(name)} == {}


@pytest.mark.parametrize("unit", UNITS.values())
@pytest.mark.parametrize("end", ["captured", "exported", "rejected", "dropped", "pending"])
def test_every_signal_has_its_account(unit: str, end: str) -> None:
    assert find(f"{unit}_{end}") is not None


@pytest.mark.parametrize("counter", COUNTERS)
def test_every_kernel_counter_is_told_with_its_name(counter: str) -> None:
    found = find(f"kernel_{counter}")
    assert found
    metric, source, rest = found
    assert rest in counter
    assert source.rest or source.fixed
    assert metric.instrument == "counter"


def test_kernel_counter_of_tomorrow_has_a_row() -> None:
    for name, metric, rest in (
        ("kernel_unparsed_shim", "natlens.capture.unparsed", "shim"),
        ("kernel_dropped_rows_tired_packets", "natlens.capture.lost.packets", "tired"),
        ("kernel_dropped_fragments_full", "natlens.map.refused", "fragments"),
        ("kernel_odd", "natlens.capture.events", "odd"),
    ):
        found = find(name)
        assert found
        assert (found[0].name, found[2]) == (metric, rest)


def test_names_are_unique_and_of_the_conventions_or_our_own() -> None:
    for names in (
        [metric.name for metric in METRICS],
        [metric.prometheus for metric in METRICS],
        [metric.alert.name for metric in METRICS if isinstance(metric.alert, Alert)],
    ):
        assert len(names) == len(set(names))
    ours = {metric.name for metric in METRICS} - STANDARD
    assert all(re.fullmatch(r"natlens(\.[a-z_]+)+", name) for name in ours), ours
    assert len({metric.name for metric in METRICS} & STANDARD) >= 12


def test_no_metric_is_the_namespace_of_another() -> None:
    names = {metric.name for metric in METRICS}
    assert [name for name in names if any(other.startswith(f"{name}.") for other in names)] == []


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)
def test_row_is_documented_and_has_a_rule_or_a_reason(row: Metric) -> None:
    assert row.brief.endswith((".", ".)"))
    assert row.sources
    if isinstance(row.alert, Alert):
        assert [row.alert.summary[-1], row.alert.action[-1]] == [".", "."]
        assert row.prometheus in row.alert.expr
    else:
        assert len(row.alert) > 10


@pytest.mark.parametrize(
    ("pattern", "name", "rest"),
    [
        ("a", "a", ""),
        ("a", "ab", None),
        ("a_*", "a_b_c", "b_c"),
        ("a_*_c", "a_b_c", "b"),
        ("a_*_c", "a_b", None),
    ],
)
def test_star_stands_for_words(pattern: str, name: str, rest: str | None) -> None:
    assert Source(pattern).match(name) == rest
