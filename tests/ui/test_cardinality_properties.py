"""Combinations of any records are those that a plain count finds; filters act upon records as upon columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from tests.otlp.batches import batches
from tests.ui.requests import request

from natlens.otlp.batch import Batch
from natlens.otlp.metrics.filters import parse_filters
from natlens.otlp.metrics.series import Metrics
from natlens.otlp.metrics.sets import ALLOWED, chosen
from natlens.otlp.metrics.settings import MetricSettings
from natlens.otlp.record import encode, records
from natlens.otlp.resource import Observer, resource
from natlens.ui.combinations import TOP, Combinations
from natlens.ui.price import Price, points
from natlens.ui.records import Record, read_records
from natlens.ui.selection import Selection

NAMES = ("source.k8s.pod.name", "destination.port", "flow.responder.k8s.pod.name", "flow.responder.k8s.node.name")
HELD = (*NAMES[:2], *(f"{role}.k8s.{of}.name" for role in ("destination", "destination.nat") for of in ("pod", "node")))
VALUES = st.sampled_from(["", "a", "b", "80", 80, 81, True])
ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(HELD, VALUES),
        "flow.primary": st.booleans(),
        "destination.nat.address": st.just("10.0.0.1"),
    },
)
SEEN = st.lists(st.tuples(st.sampled_from(["n1", "n2", ""]), ATTRIBUTES), max_size=30)
CHOSEN = st.lists(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True).map(tuple), min_size=1, max_size=3
)


Seen = Sequence[tuple[str, dict[str, Any]]]


def value(attributes: dict[str, Any], name: str) -> str | None:
    """Return an attribute of a series, as a store has it."""
    if name.startswith("flow.responder."):
        role = "destination.nat" if "destination.nat.address" in attributes else "destination"
        name = name.replace("flow.responder", role)
    found = attributes.get(name)
    return found if found is None or isinstance(found, str) else {True: "true"}.get(found) or str(found)


def plain(
    seen: Sequence[tuple[str, dict[str, Any]]], names: tuple[str, ...], primary_only: bool
) -> set[tuple[Any, ...]]:
    """Return (node, value, …) of each combination."""
    return {
        (node, *(value(attributes, name) for name in names))
        for node, attributes in seen
        if not primary_only or attributes.get("flow.primary", True)
    }


@given(SEEN, CHOSEN, st.booleans())
def test_counts_are_those_of_a_plain_count(
    seen: list[tuple[str, dict[str, Any]]], chosen: list[tuple[str, ...]], primary_only: bool
) -> None:
    counted = Combinations({str(at): names for at, names in enumerate(chosen)}, primary_only=primary_only)
    for node, attributes in seen:
        counted.add(node, [Record(0, "", attributes)])
    for names, cost in zip(chosen, counted.costs(), strict=True):
        expected = plain(seen, names, primary_only)
        assert cost.complete
        assert cost.by_node == {node: sum(one[0] == node for one in expected) for node in counted.nodes}
        assert cost.total == len(expected)
        assert cost.distinct == len({one[1:] for one in expected})
        for part in cost.parts:
            at = 1 + names.index(part.attribute)
            assert part.without == len({one[:at] + one[at + 1 :] for one in expected})
            having = [one[at] for one in expected]
            counts = sorted((having.count(one) for one in set(having)), reverse=True)
            assert [count for _, count in part.top] == counts[:TOP]
            assert all(having.count(one) == count for one, count in part.top)
        assert [part.without for part in cost.parts] == sorted(part.without for part in cost.parts)


@given(SEEN, CHOSEN, st.integers(1, 6))
def test_a_set_with_too_many_is_counted_no_further_and_says_so(
    seen: list[tuple[str, dict[str, Any]]], chosen: list[tuple[str, ...]], most: int
) -> None:
    counted = Combinations({str(at): names for at, names in enumerate(chosen)}, most=most)
    for node, attributes in seen:
        counted.add(node, [Record(0, "", attributes)])
    for names, cost in zip(chosen, counted.costs(), strict=True):
        there = len(plain(seen, names, True))
        assert (cost.total, cost.complete) == (min(there, most), there <= most)
        assert (Price(cost, points("explicit"), 20_000, True).at_most(7) is None) == (there > most)


@given(st.lists(st.integers(0, 2**31), max_size=50))
def test_rows_that_one_number_cannot_tell_apart(ports: list[int]) -> None:
    names = tuple(ALLOWED)
    seen = [{name: port >> at & 0xFF for at, name in enumerate(names) if "nat" not in name} for port in ports]
    counted = Combinations({"all": names})
    counted.add("n", [Record(0, "", dict(one)) for one in seen])
    (cost,) = counted.costs()
    assert cost.distinct == len(plain([("n", dict(one)) for one in seen], names, True))


TERMS = st.builds(
    "{}{}".format,
    st.sampled_from(["", "source.", "destination.", "responder."]),
    st.sampled_from(
        ["namespace=?*", "namespace=a*", "cidr=::/0", "cidr=::/1", "cidr=8000::/1", "kind=pod", "kind=external"]
    )
    | st.integers(1, 65535).map("port={}".format),
)


@given(batches(), st.lists(TERMS, max_size=3), st.lists(TERMS, max_size=2), st.data())
def test_filters_act_upon_records_as_upon_columns(
    batch: Batch, include: list[str], exclude: list[str], data: st.DataObject
) -> None:
    if len(batch) and data.draw(st.booleans()):  # a port that is there
        include = [*include, f"port={max(int(batch.connections['original']['dport'][0]), 1)}"]
    families = np.stack([batch.connections[side]["family"] for side in ("original", "translated")])
    if (families != 6).any():  # bytes at random are no address of another family
        include, exclude = ([term for term in terms if "cidr" not in term] for terms in (include, exclude))
    mask = parse_filters(include, exclude).mask(batch)
    expected = np.ones(len(batch), np.bool_) if mask is None else mask
    encoded = encode(batch, resource(Observer()))
    selection = Selection(include, exclude)
    found = [selection(plain_attributes(record)) for record in records(encoded)]
    assert found == expected.tolist()


def plain_attributes(record: LogRecord) -> dict[str, Any]:
    """Return attributes as Python has them; a list's value is of no use here."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in record.attributes}


def test_a_full_set_leaves_the_others() -> None:
    names = ("source.address",)
    counted = Combinations({"own": names, "few": ("network.transport",)}, most=1000)
    for number in range(1100):
        counted.add("n", read_records(request({"source.address": f"10.0.{number}", "network.transport": "tcp"})))
    own, few = counted.costs()
    assert (own.total, own.complete, few.total, few.complete) == (1000, False, 1, True)
    assert counted.counted == 1100


@pytest.mark.parametrize(("kind", "prometheus"), [("explicit", 24), ("exponential", 6)])
def test_points(kind: Any, prometheus: int) -> None:
    assert points(kind) == (6, prometheus)


@given(batches(), st.sampled_from([("owner",), ("service-backend",), ("pod",), ALLOWED]), st.booleans())
def test_combinations_are_the_series_that_metrics_have(
    batch: Batch, asked: tuple[str, ...], primary_only: bool
) -> None:
    settings = MetricSettings(chosen(asked), primary_only=primary_only)
    metrics = Metrics(settings, began_ns=1)
    metrics.add(batch)
    collected = metrics.collect(2)
    counted = Combinations({"all": settings.attributes}, primary_only=primary_only)
    counted.add("n", read_records(encode(batch, resource(Observer()))))
    (cost,) = counted.costs()
    assert cost.total == (len(collected.series) if collected else 0)
