"""The encoder: its bytes are the reference encoder's message and the SDK's, whatever the records hold."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from natlens.identity.endpoint import Endpoint
from natlens.otlp import attributes, pieces
from natlens.otlp.attributes import ATTRIBUTES, Attribute
from natlens.otlp.batch import Batch, Trace
from natlens.otlp.column import Choice, Digits, Numbers
from natlens.otlp.encoder import Encoder
from natlens.otlp.record import encode, records
from natlens.otlp.request import Request
from tests.bench.shapes import Cluster, batch, connections
from tests.otlp.batches import batch_of, batches, connection, in_order, standing_of
from tests.otlp.test_record import HERE, oracle


def decoded(requests: list[Request]) -> list[ExportLogsServiceRequest]:
    return [ExportLogsServiceRequest.FromString(request.data) for request in requests]


def merged(requests: list[ExportLogsServiceRequest]) -> ExportLogsServiceRequest:
    """Return one request with the records of all, which must be alike but for these."""
    first, *others = requests
    for other in others:
        first.resource_logs[0].scope_logs[0].log_records.extend(records(other))
        kept, own = ExportLogsServiceRequest(), ExportLogsServiceRequest()
        kept.CopyFrom(first)
        own.CopyFrom(other)
        for one in (kept, own):
            del one.resource_logs[0].scope_logs[0].log_records[:]
        assert kept == own
    return first


@given(batches(max_size=12))
def test_any_batch_decodes_to_the_references_message(batch: Batch) -> None:
    made = decoded(list(Encoder(HERE).requests(batch)))
    assert made == ([encode(in_order(batch), HERE)] if len(batch) else [])


@given(batches())
def test_any_batch_decodes_to_the_sdks_message(batch: Batch) -> None:
    for made in decoded(list(Encoder(HERE).requests(batch))):
        sdk = oracle(in_order(batch))
        for message in (made, sdk):
            sort_attributes(message)
        assert made == sdk


def sort_attributes(request: ExportLogsServiceRequest) -> None:
    """Put every set of attributes in order: OTLP gives them none, and the SDK has its resource's as they came."""
    holders: list[Resource | LogRecord] = [request.resource_logs[0].resource, *records(request)]
    for holder in holders:
        held = sorted(holder.attributes, key=lambda one: one.key)
        del holder.attributes[:]
        holder.attributes.extend(held)


@pytest.mark.parametrize("full", [False, True])
def test_many_records_of_real_shapes_are_the_references(full: bool) -> None:
    cluster = Cluster()
    many = batch(cluster, connections(cluster, 3500, full=full))
    made = list(Encoder(HERE).requests(many))
    assert [request.records for request in made] == [1000, 1000, 1000, 500]
    assert merged(decoded(made)) == encode(in_order(many), HERE)


def test_the_same_batch_gives_the_same_bytes_again_and_from_another_encoder() -> None:
    cluster, encoder = Cluster(), Encoder(HERE)
    many = batch(cluster, connections(cluster, 1500, full=True))
    first = list(encoder.requests(many))
    list(encoder.requests(batch(cluster, connections(cluster, 100, full=False))))
    assert list(encoder.requests(many)) == first == list(Encoder(HERE).requests(many))


@given(batches(max_size=12), st.integers(0, 20_000), st.integers(1, 5))
def test_requests_keep_their_limits_and_lose_nothing(batch: Batch, limit: int, most: int) -> None:
    made = list(Encoder(HERE, request_bytes=limit, request_records=most).requests(batch))
    assert all(request.records == 1 or len(request.data) <= limit for request in made)
    assert all(request.records <= most for request in made)
    assert [len(list(records(one))) for one in decoded(made)] == [request.records for request in made]
    if made:
        assert merged(decoded(made)) == encode(in_order(batch), HERE)


def test_a_request_is_filled_as_far_as_its_limit_goes() -> None:
    rows = np.repeat(connection(), 50)
    (whole,) = Encoder(HERE).requests(batch_of(rows))
    slack = 10  # lengths of what surrounds the records are reckoned at their longest
    for limit, sizes in ((len(whole.data) + slack, [50]), (len(whole.data) - 1, [49, 1])):
        made = list(Encoder(HERE, request_bytes=limit).requests(batch_of(rows)))
        assert [request.records for request in made] == sizes


def test_records_of_the_same_ends_stand_together() -> None:
    cluster = Cluster()
    many = in_order(batch(cluster, connections(cluster, 2000, full=False)))
    pairs = list(zip(many.source.codes.tolist(), many.destination.codes.tolist(), strict=True))
    changes = sum(one != other for one, other in pairwise(pairs))
    assert changes == len(set(pairs)) - 1


@given(st.permutations(range(12)), st.integers(1, 12))
def test_where_this_node_stands_stays_with_its_connection(ends: list[int], most: int) -> None:
    twelve = batch_of(np.repeat(connection(), 12))
    twelve.connections["sequence"] = np.arange(12)
    mixed = replace(
        twelve,
        source=twelve.source._replace(codes=np.array(ends)),
        standing=standing_of([at % 5 for at in range(12)], [at % 2 > 0 for at in range(12)]),
    )
    seen = set[int]()
    for part in mixed.by_ends(most):
        assert part.standing is not None
        for row, reporter, primary in zip(part.connections, *part.standing, strict=True):
            at = int(row["sequence"])
            assert (reporter, primary) == (at % 5, at % 2 > 0)
            seen.add(at)
    assert seen == set(range(12))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_many_records_name_the_spans_that_are_sent(share: float) -> None:
    cluster, rng = Cluster(), np.random.default_rng(1)
    many = batch(cluster, connections(cluster, 2500, full=True))
    ids = rng.integers(1, 256, (2500, 24), np.uint8)
    traced = replace(many, trace=Trace(ids[:, :16], ids[:, 16:], rng.random(2500) < share))
    assert merged(decoded(list(Encoder(HERE).requests(traced)))) == encode(in_order(traced), HERE)


def read_many(batch: Batch) -> npt.NDArray[np.int64]:
    return np.arange(len(batch))


@pytest.mark.parametrize(
    "row",
    [
        Attribute("a.int", "int", "", 1, lambda batch: Numbers(read_many(batch) - 2)),
        Attribute("a." + "long" * 60, "int", "", 1, lambda batch: Numbers(read_many(batch) << 60)),
        Attribute("a.double", "double", "", 1.0, lambda batch: Numbers(read_many(batch) / 3, read_many(batch) != 1)),
        Attribute("a.none", "int", "", 1, lambda batch: Numbers(read_many(batch), read_many(batch) < 0)),
        Attribute("a.digits", "string", "", "x", lambda batch: Digits(np.full((len(batch), 3), 65, np.uint8))),
        Attribute("a.text", "string", "", "x", lambda batch: Choice(read_many(batch), ["ä", None, "b", "c"])),
        Attribute("a.flag", "bool", "", True, lambda batch: Choice(read_many(batch) % 3 - 1, [True, False, None])),
        Attribute(
            "a.list", "string[]", "", ("a",), lambda batch: Choice(read_many(batch), [("a",), (), None, ("", "b")])
        ),
    ],
    ids=lambda row: row.name[:12],
)
def test_promise_a_row_of_any_type_is_encoded(monkeypatch: pytest.MonkeyPatch, row: Attribute) -> None:
    monkeypatch.setattr(attributes, "ATTRIBUTES", [*ATTRIBUTES[:5], row, *ATTRIBUTES[5:]])
    four = batch_of(np.repeat(connection(), 4))
    (made,) = decoded(list(Encoder(HERE).requests(four)))
    assert made == encode(in_order(four), HERE)
    assert ("a.none" in str(made)) is False


def test_more_combinations_than_one_number_tells_apart_are_two_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LARGEST_KEY", 500)
    (made,) = decoded(list(Encoder(HERE).requests(batch_of())))
    assert made == encode(batch_of(), HERE)


def test_a_fragment_is_encoded_once_and_forgotten_a_window_after_its_last_use() -> None:
    fragments, encoded = pieces.Fragments(b"\x32"), list[str]()

    def ask(*keys: str) -> list[bytes]:
        def encode(places: list[int]) -> list[bytes]:
            encoded.extend(keys[at] for at in places)
            return [keys[at].encode() for at in places]

        return fragments.of("a", keys, encode)

    assert ask("x", "y", "x") == [b"x", b"y", b"x"]
    assert ask("y") == [b"y"]
    fragments.turn()
    assert ask("y") == [b"y"]
    assert encoded == ["x", "y"]
    fragments.turn()
    assert ask("x", "y") == [b"x", b"y"]
    assert encoded == ["x", "y", "x"]


def test_a_record_with_a_name_of_megabytes_is_a_request_of_its_own() -> None:
    three = batch_of(np.repeat(connection(), 3))
    web, *_ = three.destination.each
    assert web is not None
    named = web._replace(endpoint=Endpoint(k8s_service_name="x" * 5_000_000))
    many = replace(three, destination=three.destination._replace(each=[web, named, web, None]))
    made = list(Encoder(HERE).requests(many))
    assert [request.records for request in made] == [1, 1, 1]
    assert sum(len(request.data) > 5_000_000 for request in made) == 1
