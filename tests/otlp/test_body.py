"""The body: one line for people."""

import pytest
from hypothesis import given

from natlens.flows.connection import Nat
from natlens.identity.endpoint import Endpoint
from natlens.otlp.batch import Batch
from natlens.otlp.body import lines
from tests.otlp.batches import batch_of, batches, connection, tuples

NODE = Endpoint(k8s_node_name="node-1", k8s_object_kind="node")


def test_client_service_and_pod() -> None:
    assert lines(batch_of()) == ["default/client-7 → default/web:80 ⇒ default/web-abc:8080 tcp"]


@pytest.mark.parametrize(
    ("proto", "family", "line"),
    [
        (6, "10.0.0.1", "10.0.0.1 → 10.0.0.2:80 tcp"),
        (17, "::1", "[::1] → [::2]:80 udp"),
        (1, "10.0.0.1", "10.0.0.1 → 10.0.0.2 icmp"),
        (58, "::1", "[::1] → [::2] icmpv6"),
        (47, "10.0.0.1", "10.0.0.1 → 10.0.0.2 protocol 47"),
    ],
)
def test_addresses_where_no_name_is_known(proto: int, family: str, line: str) -> None:
    row = tuples(family, family[:-1] + "2", 1000, 80, proto=proto)
    batch = batch_of(
        connection(original=row, translated=row, nat=Nat.NONE), source=None, destination=None, destination_nat=None
    )
    assert lines(batch) == [line]


def test_a_node_is_named_but_not_what_is_only_on_it() -> None:
    on_it = Endpoint(k8s_node_name="node-1", k8s_object_kind="endpoint")
    row = connection(nat=Nat.NONE)
    assert lines(batch_of(row, source=NODE, destination=on_it)) == ["node-1 → 10.96.0.10:80 tcp"]


@given(batches())
def test_any_names_make_one_printable_line(batch: Batch) -> None:
    made = lines(batch)
    assert len(made) == len(batch)
    assert all(line.isprintable() and line.encode() for line in made)
