"""ctnetlink: entries of a live table as pyroute2 reads them, and any bytes at all."""

import socket
import time
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2 import NFCTSocket

from natlens.flows.tuples import address_text
from natlens.kernel import conntrack, ctnetlink
from natlens.kernel.structs import TUPLE, TranslationSource
from natlens.ui.lab.nat import NftablesNat
from natlens.ui.lab.node import Node
from natlens.ui.lab.traffic import TcpServer, UdpServer, exchange, ping, talk, udp_socket

SERVICE, SERVICE6 = "10.96.0.10", "fd00:96::10"
ZONES = "table inet zones { chain c { type filter hook prerouting priority raw; udp sport 4242 ct zone set 7; }; }"

Told = tuple[str, str, int, int, int]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A node whose conntrack has an entry of each kind."""
    with Node() as made:
        client, server = made.pod("client"), made.pod("server")
        nat = NftablesNat(made)
        nat.service(SERVICE, "tcp", 80, [(server.ip, 8080)])
        nat.service(SERVICE6, "udp", 53, [(server.ip6, 5353)])
        nat.masquerade(device="eth0")
        made.nft(ZONES)
        with TcpServer(server.namespace, 8080), UdpServer(server.namespace, 5353):
            talk(client.namespace, (SERVICE, 80))
            for to, port in (((SERVICE6, 53), 0), ((server.ip, 5353), 4242)):
                with udp_socket(client.namespace, to, port=port) as talker:
                    exchange(talker, 20)
            ping(client.namespace, made.outside.ip, 77)
            ping(client.namespace, server.ip6, 78)
            yield made


def ours(tuples: np.ndarray) -> list[Told]:
    return [
        (
            address_text(bytes(one["src"]), int(one["family"])),
            address_text(bytes(one["dst"]), int(one["family"])),
            int(one["sport"]),
            int(one["dport"]),
            int(one["proto"]),
        )
        for one in tuples
    ]


def theirs(message: Any) -> Told:
    """Return a tuple as pyroute2 decoded it."""
    ip, transport = message.get_attr("CTA_TUPLE_IP"), message.get_attr("CTA_TUPLE_PROTO")
    version = "V4" if ip.get_attr("CTA_IP_V4_SRC") is not None else "V6"
    source, destination = (str(ip_address(ip.get_attr(f"CTA_IP_{version}_{end}"))) for end in ("SRC", "DST"))
    number = transport.get_attr("CTA_PROTO_NUM")
    if icmp := {1: "ICMP", 58: "ICMPV6"}.get(number):
        identifier, kind, code = (
            transport.get_attr(f"CTA_PROTO_{icmp}_{name}") or 0 for name in ("ID", "TYPE", "CODE")
        )
        return source, destination, identifier, kind << 8 | code, number
    return source, destination, *(transport.get_attr(f"CTA_PROTO_{name}_PORT") for name in ("SRC", "DST")), number


def test_a_dump_is_what_pyroute2_reads(node: Node) -> None:
    with node.namespace.enter():
        found = conntrack.dump(time.monotonic_ns(), 10_000)
        with NFCTSocket(nfgen_family=socket.AF_UNSPEC) as other:
            known = {
                (
                    theirs(one.get_attr("CTA_TUPLE_ORIG")),
                    theirs(one.get_attr("CTA_TUPLE_REPLY")),
                    one.get_attr("CTA_ZONE") or 0,
                )
                for one in other.dump()
            }
    key = found["key"]
    assert set(zip(ours(key["original"]), ours(key["reply"]), key["zone"].tolist(), strict=True)) == known
    assert {told[0][4] for told in known} >= {1, 6, 17, 58}
    assert {zone for *_, zone in known} >= {0, 7}
    assert set(found["value"]["source"].tolist()) == {TranslationSource.DUMP}


def test_a_dump_ends_at_its_limit(node: Node) -> None:
    with node.namespace.enter():
        assert len(conntrack.dump(0, 2)) == 2


def test_an_entry_is_found_by_its_original_tuple_and_no_other(node: Node) -> None:
    with node.namespace.enter():
        everything = conntrack.dump(0, 10_000)["key"]
        wanted = everything[np.isin(everything["original"]["proto"], (1, 6, 17, 58)) & (everything["zone"] == 0)]
        unknown = wanted["original"][:1].copy()
        unknown["sport"] ^= 1
        found = conntrack.ask(np.concatenate([wanted["original"], unknown]), 5)
    assert found["key"].tobytes() == wanted.tobytes()
    assert {(int(one["first_ns"]), int(one["source"])) for one in found["value"]} == {(5, TranslationSource.CTNETLINK)}


def test_nobody_asked_is_nobody_found(node: Node) -> None:
    with node.namespace.enter():
        assert len(conntrack.ask(np.zeros(0, TUPLE), 0)) == 0


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_left_out(data: bytes) -> None:
    assert all(len(body) <= len(data) for _, body in ctnetlink.messages(data))
    assert ctnetlink.key(data) is None or len(data) > ctnetlink.KEY_BYTES // 2
    ctnetlink.error_code(data)


@given(st.integers(0, 400), st.integers(0, 255))
def test_an_entry_that_is_cut_off_or_damaged_is_left_out_or_has_its_size(at: int, octet: int) -> None:
    question = ctnetlink.get_request(socket.AF_INET, b"\x0a\0\0\1", b"\x0a\0\0\2", (1, 2), 6)
    ((_, asked),) = ctnetlink.messages(question)
    reply = asked[4:].replace(b"\1\x80", b"\2\x80", 1)
    entry = bytearray(asked + reply)
    assert ctnetlink.key(bytes(entry)) is not None
    entry[at % len(entry)] = octet
    for damaged in (bytes(entry), bytes(entry[: at % len(entry)])):
        found = ctnetlink.key(damaged)
        assert found is None or len(found) == ctnetlink.KEY_BYTES
