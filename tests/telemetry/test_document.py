"""The documentation and the rules are current, and the rules are what Prometheus takes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from natlens.telemetry import document
from natlens.telemetry.row import prometheus_label
from natlens.telemetry.table import METRICS

ROOT = Path(__file__).parents[2]
KNOWN = {metric.prometheus for metric in METRICS}
LABELS = {"job", "instance"} | {
    prometheus_label(name)
    for metric in METRICS
    for source in metric.sources
    for name in (*source.rename.values(), *source.fixed, *([source.rest] if source.rest else []))
}
WORDS = {"sum", "max", "min", "by", "on", "or", "and", "unless", "offset", "increase", "rate", "resets"}


@pytest.mark.parametrize(
    ("path", "made", "argument"),
    [("docs/telemetry.md", document.markdown, ""), ("otel-config/alerts.yaml", document.alerts, " alerts")],
)
def test_committed_files_are_current(path: str, made: Callable[[], str], argument: str) -> None:
    again = f"python -m natlens.telemetry.document{argument} > {path}"
    assert (ROOT / path).read_text(encoding="utf-8") == made(), f"write it again: {again}"


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(document.alerts())["groups"]
    assert group.keys() == {"name", "rules"}
    found: list[dict[str, Any]] = group["rules"]
    return found


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_rule(rule: dict[str, Any]) -> None:
    assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Natlens[A-Za-z]+", rule["alert"])
    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"].keys() == {"summary", "description"}
    bare = re.sub(r'"[^"]*"', "", rule["expr"])
    assert bare.count("(") == bare.count(")")
    words = set(re.findall(r"(?<![\w.])[a-z_][a-z_0-9]*", bare))
    assert words <= KNOWN | LABELS | WORDS, "PromQL names what no metric has"
    assert words & KNOWN


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_summary_names_labels_that_the_result_has(rule: dict[str, Any]) -> None:
    named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    kept = [set(re.findall(r"\w+", group)) for group in re.findall(r"by \(([^)]*)\)", rule["expr"])]
    assert named <= set.intersection(*kept)


def test_documentation_has_every_metric_and_every_alert() -> None:
    text = document.markdown()
    for metric in METRICS:
        assert f"| `{metric.name}` | `{metric.prometheus}` |" in text
    for rule in rules():
        assert f"| `{rule['alert']}` |" in text
    assert "{{" not in text
