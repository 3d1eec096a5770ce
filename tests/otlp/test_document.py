"""Generated documentation is current and says all."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from natlens.otlp import document
from natlens.otlp.attributes import ATTRIBUTES, TEMPLATES
from natlens.otlp.batch import ROLES
from natlens.otlp.metrics import document as metrics
from natlens.otlp.metrics import sets
from natlens.otlp.metrics.table import METRICS
from natlens.otlp.resource import RESOURCE_ATTRIBUTES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("path", "made", "argument"),
    [
        ("attributes.md", document.markdown, ""),
        ("registry/attributes.yaml", document.registry, " registry"),
        ("metrics.md", metrics.markdown, " metrics"),
        ("registry/metrics.yaml", metrics.registry, " metrics-registry"),
    ],
)
def test_committed_files_are_current(path: str, made: Callable[[], str], argument: str) -> None:
    assert document.DOCUMENTS[argument.strip()] is made
    again = f"python -m natlens.otlp.document{argument} > docs/{path}"
    assert (DOCS / path).read_text(encoding="utf-8") == made(), f"write it again: {again}"


def test_the_registry_defines_each_attribute_once_and_refers_to_those_of_the_record() -> None:
    record, observer, event = yaml.safe_load(document.registry())["groups"]
    names = [row.name for row in ATTRIBUTES] + [row.name for row in TEMPLATES]
    assert [one["id"] for one in record["attributes"]] == names
    assert [one["id"] for one in observer["attributes"]] == [row.name for row in RESOURCE_ATTRIBUTES]
    assert [one["ref"] for one in event["attributes"]] == names
    assert event["name"] == "flow.connection"
    for one in record["attributes"] + observer["attributes"]:
        assert one["type"] in {"string", "int", "double", "boolean", "string[]", "template[string]"}
        assert one["brief"].endswith((".", "…"))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("of", ["pod", "service", "node"])
@pytest.mark.parametrize("kind", ["label", "annotation"])
def test_labels_and_annotations_are_templates(role: str, of: str, kind: str) -> None:
    name = f"{role}.k8s.{of}.{kind}"
    assert (
        f"| `{name}.<key>` | string | {kind.title()} of the {of.replace('service', 'Service')} of "
        in document.markdown()
    )
    (row,) = (one for one in yaml.safe_load(document.registry())["groups"][0]["attributes"] if one["id"] == name)
    assert row["type"] == "template[string]"


def attributes_defined() -> list[str]:
    """Return what both registries define."""
    groups = [*yaml.safe_load(document.registry())["groups"], *yaml.safe_load(metrics.registry())["groups"]]
    return [one["id"] for group in groups for one in group.get("attributes", []) if "id" in one]


def test_the_registry_of_metrics_has_each_and_refers_to_nothing_undefined() -> None:
    own, series, *each = yaml.safe_load(metrics.registry())["groups"]
    defined = attributes_defined()
    assert [one["id"] for one in own["attributes"]][:2] == ["flow.direction", "otel.metric.overflow"]
    assert {one["ref"] for group in (series, *each) for one in group["attributes"]} <= set(defined)
    assert {one["ref"] for one in series["attributes"]} == {"otel.metric.overflow", *sets.ALLOWED}
    assert [(one["metric_name"], one["unit"], one["extends"]) for one in each] == [
        (metric.name, metric.unit, series["id"]) for metric in METRICS
    ]
    assert [one["instrument"] for one in each] == ["counter"] * 3 + ["histogram"]
    assert ["flow.direction" in str(one["attributes"]) for one in each] == [True, True, False, False]


def test_what_metrics_alone_have_no_record_has() -> None:
    defined = attributes_defined()
    assert len(set(defined) - {row.name for row in RESOURCE_ATTRIBUTES}) == len(defined) - len(RESOURCE_ATTRIBUTES)


@pytest.mark.parametrize(
    ("name", "in_prometheus"),
    [
        ("flow.io", "flow_io_bytes_total"),
        ("flow.packet.count", "flow_packet_count_total"),
        ("flow.connection.count", "flow_connection_count_total"),
        ("flow.duration", "flow_duration_seconds"),
    ],
)
def test_every_metric_is_documented_with_its_name_in_prometheus(name: str, in_prometheus: str) -> None:
    (metric,) = (one for one in METRICS if one.name == name)
    assert metrics.prometheus_name(metric) == in_prometheus
    rows = [line for line in metrics.markdown().splitlines() if line.startswith(f"| `{name}` |")]
    assert any(f"`{in_prometheus}`" in row and metric.brief in row for row in rows)


def test_every_attribute_that_may_be_asked_for_is_documented() -> None:
    text = metrics.markdown()
    ends = (*ROLES, sets.RESPONDER)
    for name in sets.ALLOWED:
        end = max((end for end in ends if name.startswith((f"{end}.k8s.", f"{end}.cloud."))), default="")
        assert f"| `{name.removeprefix(f'{end}.')}` |" in text
        assert f"`{end}`" in text or not end
    assert all(f"| `{name}` |" in text for name in sets.SETS)
