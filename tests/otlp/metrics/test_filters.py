"""Terms of metrics_include and metrics_exclude: what they hold of, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natlens.errors import ConfigError
from natlens.flows.connection import Nat
from natlens.flows.tuples import ICMP
from natlens.identity.endpoint import Endpoint
from natlens.otlp.batch import Batch
from natlens.otlp.metrics.filters import EVERYTHING, parse_filters
from tests.otlp.batches import CLIENT, POD, batch_of, batches, connection, tuples

V6 = Endpoint(k8s_object_kind="external")
TO_SERVICE = batch_of(destination_nat=Endpoint(k8s_namespace_name="backend", k8s_object_kind="pod"))
"""default/client-7 (10.1.0.7:40000) dialled default/web (10.96.0.10:80), backend's pod (10.2.0.9:8080) answered."""


def included(batch: Batch, *include: str, exclude: tuple[str, ...] = ()) -> list[bool]:
    mask = parse_filters(include, exclude).mask(batch)
    return [True] * len(batch) if mask is None else mask.tolist()


@pytest.mark.parametrize(
    ("term", "holds"),
    [
        ("namespace=default", True),
        ("namespace=def*", True),
        ("namespace=DEFAULT", False),
        ("namespace=backend", True),
        ("source.namespace=backend", False),
        ("destination.namespace=backend", False),
        ("responder.namespace=backend", True),
        ("responder.namespace=[!b]*", False),
        ("cidr=10.96.0.0/12", True),
        ("destination.cidr=10.96.0.10", True),
        ("responder.cidr=10.96.0.0/12", False),
        ("responder.cidr=10.2.0.8/30", True),
        ("source.cidr=10.1.0.0/29", True),
        ("source.cidr=10.1.0.0/30", False),
        ("cidr=0.0.0.0/0", True),
        ("cidr=::/0", False),
        ("cidr=::ffff:0:0/96", False),
        ("port=80", True),
        ("port=8080", True),
        ("port=443", False),
        ("source.port=40000", True),
        ("destination.port=8080", False),
        ("responder.port=8080", True),
        ("responder.port=80", False),
        ("kind=service", True),
        ("source.kind=pod", True),
        ("responder.kind=service", False),
        (" responder.kind=pod ", True),
    ],
)
def test_what_a_term_holds_of(term: str, holds: bool) -> None:
    assert included(TO_SERVICE, term) == [holds]
    assert included(TO_SERVICE, exclude=(term,)) == [not holds]


def test_without_translation_the_destination_answers() -> None:
    direct = batch_of(connection(nat=Nat.NONE), destination_nat=None)
    for term in ("responder.cidr=10.96.0.10/32", "responder.port=80", "responder.kind=service"):
        assert included(direct, term) == [True]


def test_ipv6() -> None:
    original = tuples("fd00::1", "2001:db8:1::2", 40000, 443)
    batch = batch_of(connection(nat=Nat.NONE, original=original, translated=original), destination=V6)
    held = ["cidr=2001:db8::/32", "source.cidr=fd00::/64", "cidr=::/0", "destination.cidr=2001:db8:1::2/128"]
    assert [included(batch, term) for term in held] == [[True]] * len(held)
    others = ["cidr=0.0.0.0/0", "source.cidr=2001:db8::/32", "cidr=2001:db8:1::3/128", "responder.cidr=fd00::/8"]
    assert [included(batch, term) for term in others] == [[False]] * len(others)


def test_what_has_no_ports_has_none() -> None:
    ping = tuples("10.1.0.7", "10.96.0.10", 8080, 8 << 8, proto=ICMP)
    batch = batch_of(connection(nat=Nat.NONE, original=ping, translated=ping))
    assert included(batch, "port=8080", "port=2048") == [False]


def test_several_terms() -> None:
    other = connection(original=tuples("10.9.0.1", "10.9.0.2", 1, 53), nat=Nat.NONE)
    batch = batch_of(connection(), other)
    assert included(batch, "port=53", "port=80") == [True, True]
    assert included(batch, "port=80", exclude=("source.cidr=10.1.0.0/16",)) == [False, False]
    assert included(batch, exclude=("port=53",)) == [True, False]


def test_a_kind_of_the_users_own() -> None:
    office = batch_of(source=Endpoint(k8s_object_kind="office"))
    assert parse_filters(["kind=office"], [], ["office"]).mask(office).tolist() == [True]  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="office"):
        parse_filters(["kind=office"], [])


def test_no_filter_looks_at_nothing() -> None:
    assert parse_filters([], []) == EVERYTHING
    assert EVERYTHING.mask(batch_of()) is None


@pytest.mark.parametrize(
    ("term", "said"),
    [
        ("", "is no filter"),
        ("namespace", "is no filter"),
        ("namespace=", "is no filter"),
        ("nat.cidr=10.0.0.0/8", "is no filter"),
        ("pod=x", "namespace=PATTERN, cidr=NETWORK, port=NUMBER or kind=KIND"),
        ("cidr=10.0.0.1/8", "10.0.0.0/8"),
        ("cidr=example.com", "no network"),
        ("port=0", "from 1 to 65535"),
        ("port=65536", "from 1 to 65535"),
        ("port=http", "from 1 to 65535"),
        ("kind=pods", "pod, service, node"),
    ],
)
def test_what_is_refused(term: str, said: str) -> None:
    for option, terms in (("metrics_include", ([term], [])), ("metrics_exclude", ([], [term]))):
        with pytest.raises(ConfigError) as error:
            parse_filters(*terms)
        assert str(error.value).startswith(f"{option}={term!r}")
        assert said in str(error.value)


@given(st.text(max_size=30))
def test_any_text_is_a_term_or_refused(text: str) -> None:
    for prefix in ("", "cidr=", "port=", "kind=", "source.namespace="):
        try:
            mask = parse_filters([prefix + text], []).mask(batch_of(source=CLIENT, destination_nat=POD))
        except ConfigError:
            continue
        assert mask is not None
        assert mask.shape == (1,)


@given(batches(), st.sampled_from(["namespace=*", "cidr=0.0.0.0/0", "cidr=::/1", "port=80", "responder.kind=pod"]))
def test_include_and_exclude_divide_any_batch(batch: Batch, term: str) -> None:
    some, others = parse_filters([term], []).mask(batch), parse_filters([], [term]).mask(batch)
    assert some is not None
    assert others is not None
    assert len(some) == len(batch)
    assert np.array_equal(some, ~others)
