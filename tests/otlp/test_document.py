"""Generated documentation is current and says all."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from natlens.otlp import document
from natlens.otlp.attributes import ATTRIBUTES, TEMPLATES
from natlens.otlp.batch import ROLES
from natlens.otlp.resource import RESOURCE_ATTRIBUTES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("path", "made", "argument"),
    [("attributes.md", document.markdown, ""), ("registry/attributes.yaml", document.registry, " registry")],
)
def test_committed_files_are_current(path: str, made: Callable[[], str], argument: str) -> None:
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
