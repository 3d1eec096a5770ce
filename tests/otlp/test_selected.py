"""Labels and annotations that were asked for: attributes whose names come with the endpoint."""

import io
import json
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from natlens.identity.endpoint import Endpoint
from natlens.identity.ends import End, Ends
from natlens.identity.standing import Reporter
from natlens.otlp import columns, pieces
from natlens.otlp.attributes import ENDPOINT_FIELDS, TEMPLATES
from natlens.otlp.batch import ROLES, Batch
from natlens.otlp.column import Pairs, Value
from natlens.otlp.encoder import Encoder
from natlens.otlp.record import encode, key_value, records
from natlens.ui.outlet import TerminalOutlet
from tests.bench.shapes import Cluster, batch, connections
from tests.otlp.batches import CLIENT, POD, SERVICE, batch_of, batches, connection, in_order, standing_of
from tests.otlp.test_record import HERE

APP: Pairs = (("k8s.pod.label.tier", "front"), ("k8s.pod.label.app", "web"), ("k8s.pod.annotation.Team", "ä b"))


def with_pairs(endpoint: Endpoint, *pairs: tuple[str, str]) -> Endpoint:
    return msgspec.structs.replace(endpoint, selected=pairs)


def encoded(encoder: Encoder, of: Batch) -> list[list[KeyValue]]:
    """Return each record's attributes, as the encoder has them."""
    requests = (ExportLogsServiceRequest.FromString(request.data) for request in encoder.requests(of))
    return [list(record.attributes) for request in requests for record in records(request)]


def chosen(attributes: Sequence[KeyValue]) -> list[tuple[str, str]]:
    """Return those that no row of the table names."""
    prefixes = tuple(f"{row.name}." for row in TEMPLATES)
    return [(one.key, one.value.string_value) for one in attributes if one.key.startswith(prefixes)]


def only(*pairs: tuple[str, str]) -> list[tuple[str, str]]:
    (found,) = encoded(Encoder(HERE), batch_of(source=with_pairs(CLIENT, *pairs)))
    return chosen(found)


def test_each_end_has_its_own_in_the_order_given_after_its_other_attributes() -> None:
    (found,) = encoded(
        Encoder(HERE),
        batch_of(
            source=with_pairs(CLIENT, *APP),
            destination=with_pairs(SERVICE, ("k8s.service.label.app", "shop")),
            destination_nat=with_pairs(POD, ("k8s.node.label.arch", "arm64")),
        ),
    )
    assert chosen(found) == [
        ("source.k8s.pod.label.tier", "front"),
        ("source.k8s.pod.label.app", "web"),
        ("source.k8s.pod.annotation.Team", "ä b"),
        ("destination.k8s.service.label.app", "shop"),
        ("destination.nat.k8s.node.label.arch", "arm64"),
    ]
    names = [one.key for one in found]
    last = max(names.index(f"source.{name}") for name, *_ in ENDPOINT_FIELDS if f"source.{name}" in names)
    assert names[last + 1 : last + 4] == [f"source.{name}" for name, _ in APP]


def test_an_empty_label_is_there_and_a_pair_without_a_name_is_not() -> None:
    pairs = ("k8s.node.label.control-plane", ""), ("", "x")
    found, bare = (
        encoded(Encoder(HERE), batch_of(source=end))[0] for end in (with_pairs(CLIENT, *pairs), with_pairs(CLIENT))
    )
    assert chosen(found) == [("source.k8s.node.label.control-plane", "")]
    assert len(found) == len(bare) + 1


def test_what_utf8_cannot_carry_is_replaced_and_no_name_is_there_twice() -> None:
    assert only(("k8s.pod.label.\ud800", "1\udfff"), ("k8s.pod.label.\ud801", "2")) == [
        ("source.k8s.pod.label.\ufffd", "2")
    ]


@given(batches())
def test_any_endpoints_pairs_are_in_its_records(of: Batch) -> None:
    ordered = in_order(of)
    for at, attributes in enumerate(encoded(Encoder(HERE), of)):
        wanted: dict[str, str] = {}
        for role, field in ROLES.items():
            ends: Ends = getattr(ordered, field)
            end = ends.each[ends.codes[at]]
            wanted |= {
                f"{role}.{carried(name)}": carried(value) for name, value in (end.endpoint.selected if end else ())
            }
        assert sorted(chosen(attributes)) == sorted(wanted.items())
        assert len({one.key for one in attributes}) == len(attributes)


def carried(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def labelled(of: Batch, value: str = "v") -> Batch:
    """Return the batch with labels for two ends of three, every fifth its own."""

    def each(ends: Ends) -> Ends:
        return ends._replace(each=[end and _labelled(end, at, value) for at, end in enumerate(ends.each)])

    return replace(
        of,
        source=each(of.source),
        destination=each(of.destination),
        source_nat=each(of.source_nat),
        destination_nat=each(of.destination_nat),
    )


def _labelled(end: End, at: int, value: str) -> End:
    pairs = (("k8s.pod.label.app", f"{value}-{at % 5 or at}"), ("k8s.pod.label.tier", ""))
    return end._replace(endpoint=with_pairs(end.endpoint, *pairs[: at % 3]))


@pytest.mark.parametrize("full", [False, True])
def test_many_labelled_records_are_the_references(full: bool) -> None:
    cluster = Cluster()
    many = labelled(batch(cluster, connections(cluster, 3000, full=full)))
    found = encoded(Encoder(HERE), many)
    assert found == [list(record.attributes) for record in records(encode(in_order(many), HERE))]
    assert 2000 < sum(map(bool, map(chosen, found))) <= 3000


def test_another_label_of_the_same_pod_is_in_the_next_windows_records() -> None:
    encoder = Encoder(HERE)
    for value in ("1", "2", "1"):
        labels = with_pairs(CLIENT, ("k8s.pod.label.version", value))
        (found,) = encoded(encoder, batch_of(source=labels))
        assert chosen(found) == [("source.k8s.pod.label.version", value)]


def test_an_end_that_is_known_is_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, of, asked = Encoder(HERE), batch_of(source=with_pairs(CLIENT, *APP)), list[str]()
    read = columns._pairs

    def ask(role: str, found: Pairs) -> Pairs:
        asked.append(role)
        return read(role, found)

    monkeypatch.setattr(columns, "_pairs", ask)
    first = encoded(encoder, of)
    assert sorted(asked) == ["destination", "destination.nat", "source"]
    assert encoded(encoder, of) == first
    assert len(asked) == 3


def test_ends_without_any_cost_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode_none(_: pieces.Fragments, pairs: Sequence[tuple[str, Value]]) -> bytes:
        assert len(pairs) == 1, "attributes of the table are encoded one by one"
        return LogRecord(attributes=[key_value(*one) for one in pairs]).SerializeToString()

    monkeypatch.setattr(pieces.Fragments, "encoded", encode_none)
    (found,) = encoded(Encoder(HERE), batch_of())
    assert not chosen(found)


def window(first: int, n: int, length: int) -> Batch:
    """Return a window whose every source is another pod with a label of its own."""
    rows = np.repeat(connection(), n)
    rows["flow_id"][:, 0] = np.arange(n)
    of = batch_of(connection())
    each: list[End | None] = [
        End("10.1.0.7", Endpoint(selected=(("k8s.pod.annotation.note", f"{at:0{length}d}"),)))
        for at in range(first, first + n)
    ]
    return replace(
        of,
        connections=rows,
        source=Ends(np.arange(n), [*each, None]),
        destination=of.destination.take(np.zeros(n, np.intp)),
        source_nat=of.source_nat.take(np.zeros(n, np.intp)),
        destination_nat=of.destination_nat.take(np.zeros(n, np.intp)),
    )


def test_memory_is_bounded_where_every_window_has_other_labels() -> None:
    n, length = 5_000, 500
    encoder, held = Encoder(HERE), list[int]()
    tracemalloc.start()
    try:
        for at in range(6):
            for _ in encoder.requests(window(at * n, n, length)):
                pass
            held.append(tracemalloc.get_traced_memory()[0])
        for _ in range(2):
            list(encoder.requests(batch_of()))
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    one = n * length
    assert held[0] > one  # the fragments, and what they were made of
    assert all(later - earlier < one / 5 for earlier, later in pairwise(held[1:]))
    assert held[-1] < 2 * n * (2 * length + 1200)  # two windows' ends, each text with its end and in its fragment
    assert after < one / 5


@pytest.mark.parametrize("style", ["json", "wide", "table"])
def test_a_terminal_shows_records_with_them(style: str) -> None:
    hostile = ("k8s.pod.label.\x1b[2J\n", "\x1b]0;x\x07\ud800")
    of = batch_of(source=with_pairs(CLIENT, *APP, hostile), standing=standing_of([Reporter.BOTH], [True]))
    (request,) = Encoder(HERE).requests(of)
    stream = io.StringIO()
    TerminalOutlet(format=style, stream=stream).send(request)
    *_, line = stream.getvalue().splitlines()
    assert line.isprintable()
    assert "default/client-7" in line
    if style == "json":
        shown = json.loads(line)
        assert (shown["flow.reporter"], shown["flow.primary"]) == ("both", True)
        assert {shown[f"source.{name}"] for name, _ in APP} == {value for _, value in APP}
        assert shown["source.k8s.pod.label.\x1b[2J\n"] == "\x1b]0;x\x07\ufffd"
