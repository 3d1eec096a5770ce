"""The table: what each attribute reads, and when it is absent."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from natlens.flows.connection import EndReason, Nat
from natlens.flows.tuples import ICMP, ICMP6, TCP, UDP
from natlens.identity.endpoint import Endpoint
from natlens.identity.ends import Ends
from natlens.identity.standing import Reporter
from natlens.otlp.attributes import ATTRIBUTES, ENDPOINT_FIELDS, TEMPLATES
from natlens.otlp.batch import ROLES, Batch
from natlens.otlp.column import listed
from natlens.otlp.columns import text
from tests.otlp.batches import batch_of, batches, connection, standing_of, tuples

TYPES = {"string": str, "int": int, "double": float, "bool": bool, "string[]": tuple}


def read(batch: Batch) -> dict[str, Any]:
    """Return the attributes of a batch's first connection, without the absent ones."""
    values = {attribute.name: listed(attribute.read(batch))[0] for attribute in ATTRIBUTES}
    return {name: value for name, value in values.items() if value is not None}


def of(**fields: object) -> dict[str, Any]:
    return read(batch_of(connection(**fields), source=None, destination=None, destination_nat=None))


def icmp(**fields: object) -> dict[str, Any]:
    echo = {"sport": 77, "dport": 8 << 8, "proto": ICMP, **fields}
    row = tuples("10.1.0.7", "192.0.2.1", **echo)  # type: ignore[arg-type]
    return of(original=row, translated=row, nat=Nat.NONE)


def test_a_call_to_a_service_reads_as_written_in_attributes_md() -> None:
    assert read(batch_of()) == {
        "source.address": "10.1.0.7",
        "source.port": 40000,
        "destination.address": "10.96.0.10",
        "destination.port": 80,
        "destination.nat.address": "10.2.0.9",
        "destination.nat.port": 8080,
        "nat.kind": "dnat",
        "nat.source": "tc",
        "conntrack.zone.id": 0,
        "network.transport": "tcp",
        "network.type": "ipv4",
        "network.iana_number": 6,
        "network.interface.name": "veth3",
        "flow.bytes.delta": 500,
        "flow.packets.delta": 5,
        "flow.reverse.bytes.delta": 9000,
        "flow.reverse.packets.delta": 8,
        "flow.bytes.total": 1500,
        "flow.packets.total": 15,
        "flow.reverse.bytes.total": 19000,
        "flow.reverse.packets.total": 18,
        "flow.start_time": 1_764_000_000_000_000_000,
        "flow.end_time": 1_764_000_002_500_000_000,
        "flow.duration": 2.5,
        "flow.id": "0123456789abcdeffedcba9876543210",
        "flow.sequence": 2,
        "flow.end_reason": "end_of_flow_detected",
        "flow.connection.state": "closed",
        "flow.tcp.flags.tags": ("FIN", "SYN", "PSH", "ACK"),
        "flow.reverse.tcp.flags.tags": ("SYN", "RST", "ACK"),
        "source.k8s.namespace.name": "default",
        "source.k8s.pod.name": "client-7",
        "source.k8s.pod.uid": "uid-client",
        "source.k8s.node.name": "node-1",
        "source.k8s.owner.name": "client",
        "source.k8s.owner.type": "Deployment",
        "source.k8s.owner.derived": True,
        "source.k8s.object.kind": "pod",
        "source.cloud.availability_zone": "a",
        "destination.k8s.namespace.name": "default",
        "destination.k8s.service.name": "web",
        "destination.k8s.object.kind": "service",
        "destination.nat.k8s.namespace.name": "default",
        "destination.nat.k8s.pod.name": "web-abc",
        "destination.nat.k8s.object.kind": "pod",
    }


def test_every_field_of_an_endpoint_has_a_row_for_each_role() -> None:
    names = [name for name, *_ in ENDPOINT_FIELDS]
    assert [*(name.replace(".", "_") for name in names), "selected"] == list(Endpoint.__struct_fields__)
    assert {f"{role}.{name}" for role in ROLES for name in names} <= {attribute.name for attribute in ATTRIBUTES}


def test_names_are_unique_and_examples_have_their_type() -> None:
    names = [row.name for row in ATTRIBUTES] + [row.name for row in TEMPLATES]
    assert len(set(names)) == len(names)
    assert not any(name.startswith(f"{row.name}.") for row in TEMPLATES for name in names)
    assert all(type(attribute.example) is TYPES[attribute.type] for attribute in ATTRIBUTES)


@pytest.mark.parametrize(
    ("nat", "kind", "present"),
    [
        (Nat.NONE, None, set()),
        (Nat.DNAT, "dnat", {"destination.nat"}),
        (Nat.SNAT, "snat", {"source.nat"}),
        (Nat.DNAT_SNAT, "dnat+snat", {"source.nat", "destination.nat"}),
    ],
)
def test_translated_addresses_are_there_for_the_translated_side_only(
    nat: Nat, kind: str | None, present: set[str]
) -> None:
    found = of(nat=nat, translated=tuples("192.0.2.1", "10.2.0.9", 61000, 8080))
    assert found.get("nat.kind") == kind
    assert ("nat.source" in found) == (kind is not None)
    translated = {name for name in found if ".nat." in name}
    assert translated == {f"{side}.{part}" for side in present for part in ("address", "port")}
    if "source.nat" in present:
        assert (found["source.nat.address"], found["source.nat.port"]) == ("192.0.2.1", 61000)


def test_an_ongoing_connection_has_no_duration() -> None:
    assert "flow.duration" not in of(end_reason=EndReason.ACTIVE_TIMEOUT)


def test_counters_that_are_0_are_there() -> None:
    counters = ("reverse_octets", "reverse_packets", "reverse_octets_total", "reverse_packets_total", "sequence")
    found = of(**dict.fromkeys(counters, 0))
    assert found["flow.reverse.bytes.delta"] == found["flow.reverse.packets.total"] == found["flow.sequence"] == 0


def test_what_is_not_known_is_absent() -> None:
    found = of(zone=-1, ifindex=99, end_reason=0, state=77, nat_source=200)
    assert not {
        "conntrack.zone.id",
        "network.interface.name",
        "flow.end_reason",
        "flow.connection.state",
        "nat.source",
    } & set(found)


def test_flags_are_for_tcp_and_absent_where_none_was_seen() -> None:
    udp = tuples("10.1.0.7", "10.2.0.9", 1000, 53, proto=UDP)
    assert not any("tcp" in name for name in of(original=udp, translated=udp, nat=0))
    assert "flow.reverse.tcp.flags.tags" not in of(reverse_flags=0)
    assert of(reverse_flags=255)["flow.reverse.tcp.flags.tags"] == (
        "FIN",
        "SYN",
        "RST",
        "PSH",
        "ACK",
        "URG",
        "ECE",
        "CWR",
    )


def test_protocols_without_ports_have_none() -> None:
    gre = tuples("10.1.0.7", "10.2.0.9", proto=47)
    found = of(original=gre, translated=gre, nat=Nat.DNAT)
    assert found["network.iana_number"] == 47
    assert not {name for name in found if name.endswith(".port") or "icmp" in name or name == "network.transport"}


@pytest.mark.parametrize("proto", [TCP, UDP, ICMP])
def test_later_fragments_of_an_unseen_first_one_have_no_transport_header(proto: int) -> None:
    row = tuples("10.1.0.7", "10.2.0.9", proto=proto)
    found = of(original=row, translated=row, nat=0)
    assert not {name for name in found if name.endswith(".port") or "icmp" in name}


def test_a_single_port_0_is_real() -> None:
    row = tuples("10.1.0.7", "10.2.0.9", 0, 53, proto=UDP)
    assert of(original=row, translated=row, nat=0)["source.port"] == 0


def test_icmp_has_type_code_and_id_and_no_ports() -> None:
    found = icmp()
    assert (found["flow.icmp.type.id"], found["flow.icmp.code.id"], found["flow.icmp.id"]) == (8, 0, 77)
    assert found["network.transport"] == "icmp"
    assert not {name for name in found if name.endswith(".port")}


@pytest.mark.parametrize(
    ("proto", "kind", "has_id"),
    [
        (ICMP, 3, False),
        (ICMP, 11, False),
        (ICMP, 13, True),
        (ICMP, 15, True),
        (ICMP, 17, True),
        (ICMP6, 1, False),
        (ICMP6, 128, True),
        (ICMP6, 135, False),
        (ICMP6, 139, False),
    ],
)
def test_icmp_ids_are_there_where_the_message_has_one(proto: int, kind: int, has_id: bool) -> None:
    found = icmp(proto=proto, dport=kind << 8 | 4)
    assert ("flow.icmp.id" in found) == has_id
    assert (found["flow.icmp.type.id"], found["flow.icmp.code.id"]) == (kind, 4)


def test_a_ping_through_masquerade_tells_the_translated_id_beside_its_own() -> None:
    found = of(
        original=tuples("10.1.0.7", "192.0.2.1", 77, 8 << 8, proto=ICMP),
        translated=tuples("192.0.2.9", "192.0.2.1", 1234, 8 << 8, proto=ICMP),
        nat=Nat.SNAT,
    )
    assert (found["source.nat.address"], found["flow.icmp.id"], found["flow.icmp.nat.id"]) == ("192.0.2.9", 77, 1234)
    assert "source.nat.port" not in found
    assert "flow.icmp.nat.id" not in icmp()


def test_ipv6_addresses_are_written_as_rfc_5952_says() -> None:
    row = tuples("2001:db8:0:0::1", "2001:DB8::10", 1000, 80)
    found = of(original=row, translated=row, nat=0)
    assert (found["source.address"], found["destination.address"]) == ("2001:db8::1", "2001:db8::10")
    assert found["network.type"] == "ipv6"


@pytest.mark.parametrize(
    ("given_text", "wanted"),
    [
        (None, None),
        ("", None),
        ("pod", "pod"),
        ("näme", "näme"),
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "\U0001f600"),
    ],
)
def test_text_is_what_utf8_can_carry(given_text: str | None, wanted: str | None) -> None:
    assert text(given_text) == wanted


@pytest.mark.parametrize(
    ("code", "primary", "wanted"),
    [
        (Reporter.SOURCE, True, ("source", True)),
        (Reporter.DESTINATION, False, ("destination", False)),
        (Reporter.BOTH, True, ("both", True)),
        (Reporter.TRANSIT, False, ("transit", False)),
        (0, True, (None, None)),
    ],
)
def test_where_this_node_stands(code: int, primary: bool, wanted: tuple[str | None, bool | None]) -> None:
    found = read(batch_of(standing=standing_of([code], [primary])))
    assert (found.get("flow.reporter"), found.get("flow.primary")) == wanted


@pytest.mark.parametrize(("rate", "told"), [(1, {}), (100, {"flow.sampling_rate": 100})])
def test_of_how_many_connections_it_is_one(rate: int, told: dict[str, int]) -> None:
    found = read(replace(batch_of(), sampling_rate=rate))
    assert {name: value for name, value in found.items() if name == "flow.sampling_rate"} == told


def test_where_this_node_stands_is_absent_where_nobody_asked() -> None:
    assert not {"flow.reporter", "flow.primary"} & set(read(batch_of(standing=None)))


@given(batches())
def test_any_column_has_the_declared_type_and_nothing_empty(batch: Batch) -> None:
    for attribute in ATTRIBUTES:
        column = listed(attribute.read(batch))
        assert len(column) == len(batch)
        for value in column:
            assert value is None or (type(value) is TYPES[attribute.type] and value not in ("", ()))


@given(batches())
def test_absence_follows_the_connection(batch: Batch) -> None:
    column = {attribute.name: listed(attribute.read(batch)) for attribute in ATTRIBUTES}
    for at, row in enumerate(batch.connections):
        proto, nat = row["original"]["proto"], row["nat"] & 3
        present = {name for name, values in column.items() if values[at] is not None}
        assert ("source.nat.address" in present) == bool(nat & Nat.SNAT)
        assert ("destination.nat.address" in present) == bool(nat & Nat.DNAT)
        assert ("nat.kind" in present) == bool(nat)
        assert ("flow.duration" in present) == (row["end_reason"] != EndReason.ACTIVE_TIMEOUT)
        assert ("conntrack.zone.id" in present) == (row["zone"] >= 0)
        assert proto == TCP or not any("tcp" in name for name in present)
        assert proto in (ICMP, ICMP6) or not any("icmp" in name for name in present)
        assert proto in (6, 17, 132) or not {"source.port", "destination.port"} & present
        always = ("flow.bytes.delta", "flow.reverse.packets.total", "flow.id", "flow.sequence", "source.address")
        assert set(always) <= present


def test_columns_of_different_length_are_refused() -> None:
    rows = connection()
    none, one, two = (Ends(np.zeros(n, np.intp), [None]) for n in range(3))
    with pytest.raises(ValueError, match="source_nat, destination_nat"):
        Batch(rows, one, one, none, two, {}, 0, 0)
    with pytest.raises(ValueError, match=r"^standing\.primary: one"):
        Batch(rows, one, one, one, one, {}, 0, 0, standing_of([1], [True, False]))
    with pytest.raises(ValueError, match=r"^standing\.reporter: one"):
        Batch(rows, one, one, one, one, {}, 0, 0, standing_of([], [True]))
