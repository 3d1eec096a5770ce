"""Rules as words: what is refused, and in which order rules are asked."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natlens.errors import ConfigError
from natlens.kernel.controls import ports
from natlens.kernel.rules import CONDITIONS, ENDS, MOST, PORTS, Rule, parse_rules
from natlens.kernel.structs import PORT_PREFIX, RULE_ENDS, Side

LONG = "x" * 500


def one(text: str) -> Rule:
    (rule,) = parse_rules([text])
    return rule


def test_every_condition_is_read() -> None:
    rule = one(
        "  reject cidr=10.0.0.0/8  port=53 source.cidr=10.1.0.0/16 source.port=1024-65535 "
        "destination.cidr=10.96.0.0/12 destination.port=80 responder.cidr=10.244.0.0/16 responder.port=8080 "
        "protocol=udp interface=eth* direction=ingress"
    )
    assert (rule.rejects, rule.protocol, rule.interface, rule.side) == (True, 17, "eth*", Side.INGRESS)
    assert {name: (str(end.network), end.ports) for name, end in rule.ends.items()} == {
        "any": ("10.0.0.0/8", (53, 53)),
        "source": ("10.1.0.0/16", (1024, 65535)),
        "destination": ("10.96.0.0/12", (80, 80)),
        "responder": ("10.244.0.0/16", (8080, 8080)),
    }
    assert (rule.prefix, rule.family, rule.asks_for_port) == (16, 4, True)
    assert rule.text.startswith("reject cidr=10.0.0.0/8 port=53 ")
    assert (rule.is_at("eth1"), rule.is_at("lo")) == (True, False)


@pytest.mark.parametrize(
    ("text", "named", "way_out"),
    [
        ("drop port=53", "'drop'", "accept or reject"),
        ("  ", "''", "accept or reject"),
        ("port=53 reject", "'port=53'", "accept or reject"),
        ("reject prot=udp", "'prot=udp'", "protocol="),
        ("reject udp", "'udp'", "protocol="),
        ("reject port=", "'port='", "port="),
        ("reject responder.interface=eth0", "'responder.interface=eth0'", "responder.cidr="),
        ("reject port=53 port=54", "port= twice", "a rule for each"),
        ("reject cidr=10.0.0.1/8", "'10.0.0.1/8'", "10.0.0.0/8"),
        ("reject source.cidr=pods", "'pods'", "10.0.0.0/8"),
        ("reject port=0", "'0'", "1 to 65535"),
        ("reject port=65536", "'65536'", "1 to 65535"),
        ("reject port=90-80", "'90-80'", "8000-8999"),
        ("reject port=http", "'http'", "1 to 65535"),
        ("reject port=٥٣", "'٥٣'", "1 to 65535"),
        ("reject protocol=TCP", "'TCP'", "tcp, udp, sctp"),
        ("reject protocol=0", "'0'", "1 to 255"),
        ("reject protocol=256", "'256'", "1 to 255"),
        ("reject direction=out", "'out'", "ingress or egress"),
        ("reject source.cidr=10.0.0.0/8 destination.cidr=fd00::/8", "IPv4 and of IPv6", "a rule for each"),
        ("reject protocol=icmp port=8", "a port", "tcp, udp and sctp"),
        (f"reject {LONG}", "xxx…'", "protocol="),
    ],
)
def test_a_wrong_rule_is_named_with_its_word_and_the_way_out(text: str, named: str, way_out: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_rules(["accept port=80", text])
    said = str(raised.value)
    assert said.startswith("capture_rules=")
    assert repr(text)[:40].rstrip("'") in said
    assert named in said
    assert way_out in said
    assert len(said) < 500


def test_there_are_as_many_rules_as_bits() -> None:
    assert len(parse_rules(["accept"] * MOST)) == MOST == 64
    with pytest.raises(ConfigError, match="65 rules; 64 is the most"):
        parse_rules(["accept"] * (MOST + 1))


def test_longer_prefixes_are_asked_first_then_the_order_as_given() -> None:
    rules = parse_rules(
        ["reject", "accept cidr=10.0.0.0/8", "reject source.cidr=10.1.0.0/16", "accept port=1", "accept"]
    )
    assert [rule.text.split(" ", 1)[-1] for rule in rules] == [
        "source.cidr=10.1.0.0/16",
        "cidr=10.0.0.0/8",
        "reject",
        "port=1",
        "accept",
    ]


WORDS = st.one_of(
    st.text(max_size=12),
    st.builds("{}={}".format, st.sampled_from(CONDITIONS), st.one_of(st.text(max_size=9), st.integers().map(str))),
    st.builds("{}={}".format, st.sampled_from(CONDITIONS), st.ip_addresses(network="10.0.0.0/8").map(str)),
    st.sampled_from(["accept", "reject", "port=1-2", "cidr=::/0", "protocol=6", "direction=egress", "="]),
)


@given(st.lists(WORDS, max_size=5).map(" ".join))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    try:
        rule = one(text)
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert re.match("capture_rules=", str(error))  # noqa: PT017
        return
    assert one(rule.text) == rule
    assert rule.text.split() == text.split()


RANGE = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(lambda two: (min(two), max(two)))


@given(st.lists(RANGE, min_size=1, max_size=5), st.lists(st.integers(0, 65535), max_size=20))
def test_a_port_has_the_rules_whose_range_it_is_in(ranges: list[tuple[int, int]], asked: list[int]) -> None:
    rules = parse_rules([f"reject destination.port={first}-{last}" for first, last in ranges])
    table = [
        (int(key["length"]), int(key["port"].byteswap()), int(value["destination"]))
        for key, value in (
            (np.frombuffer(key, PORT_PREFIX)[0], np.frombuffer(value, RULE_ENDS)[0])
            for key, value in ports(rules).items()
        )
    ]
    for port in {*asked, *(one + by for two in ranges for one in two for by in (-1, 0, 1))} & set(range(PORTS[1] + 1)):
        matching = [(length, bits) for length, first, bits in table if first >> (16 - length) == port >> (16 - length)]
        expected = sum(1 << number for number, (first, last) in enumerate(ranges) if first <= port <= last)
        assert max(matching)[1] == expected


def test_ends_are_those_of_the_tables() -> None:
    assert RULE_ENDS.names == ENDS
