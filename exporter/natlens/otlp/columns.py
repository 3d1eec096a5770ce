"""Readers: each makes a function that reads one column of the record from a batch.

A column is a list with one value a connection, None where the attribute does not apply. The
readers work on whole arrays, so that a faster encoder can use the same table.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from natlens.flows.connection import EndReason, Nat
from natlens.flows.tuples import ICMP, ICMP6, SCTP, TCP, UDP, address_text
from natlens.kernel.structs import TranslationSource
from natlens.otlp.batch import ROLES, Batch

__all__ = [
    "TRANSPORTS",
    "Column",
    "Read",
    "Value",
    "address",
    "duration",
    "endpoint",
    "enum",
    "flags",
    "flow_id",
    "icmp",
    "interface",
    "labels",
    "nat_icmp_id",
    "nat_kind",
    "nat_source",
    "number",
    "port",
    "protocol",
    "text",
    "zone",
]

Value = str | int | float | bool | list[str]
Column = list[Any]
"""One ``Value | None`` a connection."""
Read = Callable[[Batch], Column]
Side = Literal["src", "dst"]
Mask = npt.NDArray[np.bool_]

TRANSPORTS = {TCP: "tcp", UDP: "udp", SCTP: "sctp", ICMP: "icmp", ICMP6: "icmpv6"}
TCP_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
FLAG_LISTS = [[name for bit, name in enumerate(TCP_FLAGS) if octet >> bit & 1] or None for octet in range(256)]

# Messages that carry an identifier. conntrack reads one from ICMPv6 node information (139, 140) too, but there those
# bytes are the query's type (RFC 4620).
ICMP_WITH_ID = (0, 8, 13, 14, 15, 16, 17, 18)
ICMP6_WITH_ID = (128, 129)

LARGEST = np.iinfo(np.int64).max


def where(present: Mask, values: npt.NDArray[Any]) -> Column:
    """Return ``values`` as Python objects, None where not ``present``."""
    return [value if there else None for value, there in zip(values.tolist(), present.tolist(), strict=True)]


def text(value: str | None) -> str | None:
    """Return ``value`` as text that UTF-8 can carry: lone surrogates become U+FFFD, nothing at all None."""
    if not value:
        return None
    if value.isascii():
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def number(field: str) -> Read:
    """Read an integer field of the connection, whatever its value."""

    def read(batch: Batch) -> Column:
        values = batch.connections[field]
        column: Column = (np.minimum(values, LARGEST) if values.dtype == np.uint64 else values).tolist()
        return column

    return read


def labels(field: str, names: Mapping[int, str]) -> Read:
    """Read a number of the connection's tuple as the name it has; absent where it has none."""
    return lambda batch: [names.get(value) for value in batch.connections["original"][field].tolist()]


def protocol(batch: Batch) -> Column:
    """Read the IP protocol number."""
    column: Column = batch.connections["original"]["proto"].tolist()
    return column


def enum(field: str, kind: type[IntEnum]) -> Read:
    """Read an enum field as its member's name in lower case."""
    names = {member.value: member.name.lower() for member in kind}
    return lambda batch: [names.get(value) for value in batch.connections[field].tolist()]


def address(side: Side, translation: Nat = Nat.NONE) -> Read:
    """Read an address as dialled, or as ``translation`` (where there was one) made it."""

    def read(batch: Batch) -> Column:
        tuples = _tuples(batch, translation)
        packed, families = np.ascontiguousarray(tuples[side]).tobytes(), tuples["family"].tolist()
        present = _translated(batch, translation).tolist()
        return [
            address_text(packed[16 * at : 16 * at + 16], families[at]) if present[at] else None
            for at in range(len(batch))
        ]

    return read


def port(side: Literal["sport", "dport"], translation: Nat = Nat.NONE) -> Read:
    """Read a port of a protocol that has ports; absent where both are 0 (a fragment whose first was not seen)."""

    def read(batch: Batch) -> Column:
        tuples = _tuples(batch, translation)
        with_ports = np.isin(tuples["proto"], (TCP, UDP, SCTP)) & _header_seen(tuples)
        return where(with_ports & _translated(batch, translation), tuples[side])

    return read


def icmp(part: Literal["type", "code", "id"]) -> Read:
    """Read a part of the ICMP header; the identifier only of messages that have one."""

    def read(batch: Batch) -> Column:
        tuples = batch.connections["original"]
        if part == "id":
            return where(_with_icmp_id(tuples), tuples["sport"])
        present = np.isin(tuples["proto"], (ICMP, ICMP6)) & _header_seen(tuples)
        return where(present, tuples["dport"] >> 8 if part == "type" else tuples["dport"] & 0xFF)

    return read


def nat_icmp_id(batch: Batch) -> Column:
    """Read the identifier after translation, only where it was changed.

    conntrack treats it as a port of the source, but it belongs to neither end: so it is a neighbour
    of ``flow.icmp.id`` and not ``source.nat.port``. It joins a ping's records across nodes.
    """
    original, after = batch.connections["original"], batch.connections["translated"]
    changed = (_nat(batch) != Nat.NONE) & _with_icmp_id(original) & (original["sport"] != after["sport"])
    return where(changed, after["sport"])


def nat_kind(batch: Batch) -> Column:
    """Read which sides were translated."""
    names = (None, "dnat", "snat", "dnat+snat")
    return [names[kind] for kind in _nat(batch).tolist()]


def nat_source(batch: Batch) -> Column:
    """Read how the translation was learned."""
    names = {source.value: source.name.lower() for source in TranslationSource if source}
    of = np.where(_nat(batch) == Nat.NONE, TranslationSource.NONE, batch.connections["nat_source"])
    return [names.get(value) for value in of.tolist()]


def zone(batch: Batch) -> Column:
    """Read the conntrack zone; absent where conntrack's word was not heard."""
    zones = batch.connections["zone"]
    return where(zones >= 0, zones)


def interface(batch: Batch) -> Column:
    """Read the name of the interface that counted the connection first."""
    return [text(batch.interface_names.get(index)) for index in batch.connections["ifindex"].tolist()]


def duration(batch: Batch) -> Column:
    """Read the time from start to end in seconds, on a connection's last record only."""
    rows = batch.connections
    goes_on = (rows["end_reason"] == EndReason.ACTIVE_TIMEOUT).tolist()
    times = zip(rows["start_ns"].tolist(), rows["end_ns"].tolist(), goes_on, strict=True)
    return [None if more else (end - start) / 1e9 for start, end, more in times]


def flow_id(batch: Batch) -> Column:
    """Read the 128-bit id as 32 hexadecimal digits, first word first."""
    return [f"{high:016x}{low:016x}" for high, low in batch.connections["flow_id"].tolist()]


def flags(field: str) -> Read:
    """Read a union of TCP flags as their names in the order of their bits; absent where none was seen."""

    def read(batch: Batch) -> Column:
        seen = np.where(batch.connections["original"]["proto"] == TCP, batch.connections[field], 0)
        return [FLAG_LISTS[octet] for octet in seen.tolist()]

    return read


def endpoint(role: str, field: str) -> Read:
    """Read a field of the endpoint in ``role`` (a key of :data:`natlens.otlp.batch.ROLES`)."""
    column = ROLES[role]

    def read(batch: Batch) -> Column:
        values = [None if one is None else getattr(one, field) for one in getattr(batch, column)]
        return [text(value) if isinstance(value, str) else value for value in values]

    return read


def _tuples(batch: Batch, translation: Nat) -> npt.NDArray[np.void]:
    tuples: npt.NDArray[np.void] = batch.connections["translated" if translation else "original"]
    return tuples


def _nat(batch: Batch) -> npt.NDArray[np.uint8]:
    bits: npt.NDArray[np.uint8] = batch.connections["nat"] & np.uint8(Nat.DNAT_SNAT)
    return bits


def _translated(batch: Batch, translation: Nat) -> Mask:
    applies: Mask = (_nat(batch) & translation) == translation
    return applies


def _header_seen(tuples: npt.NDArray[np.void]) -> Mask:
    """Later fragments have no transport header: where the first was not seen, both words are 0."""
    seen: Mask = (tuples["sport"] | tuples["dport"]) != 0
    return seen


def _with_icmp_id(tuples: npt.NDArray[np.void]) -> Mask:
    kind, proto = tuples["dport"] >> 8, tuples["proto"]
    with_id = ((proto == ICMP) & np.isin(kind, ICMP_WITH_ID)) | ((proto == ICMP6) & np.isin(kind, ICMP6_WITH_ID))
    found: Mask = with_id & _header_seen(tuples)
    return found
