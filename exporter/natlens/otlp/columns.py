"""Readers: each makes a function that reads one column of the record from a batch, on whole arrays."""

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from natlens.flows.connection import EndReason, Nat
from natlens.flows.tuples import ICMP, ICMP6, SCTP, TCP, UDP
from natlens.identity.ends import End, Ends
from natlens.identity.standing import Reporter
from natlens.kernel.structs import TranslationSource
from natlens.otlp.batch import ROLES, Batch
from natlens.otlp.column import Choice, Column, Digits, Mask, Numbers, Pairs, Value

__all__ = [
    "TRANSPORTS",
    "Read",
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
    "primary",
    "protocol",
    "reporter",
    "selected",
    "text",
    "zone",
]

Read = Callable[[Batch], Column]
Found = TypeVar("Found")

TRANSPORTS = {TCP: "tcp", UDP: "udp", SCTP: "sctp", ICMP: "icmp", ICMP6: "icmpv6"}
TCP_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
FLAG_NAMES = [tuple(name for bit, name in enumerate(TCP_FLAGS) if octet >> bit & 1) or None for octet in range(256)]
NAT_KINDS = (None, "dnat", "snat", "dnat+snat")
HAS_PORTS = np.isin(np.arange(256), (TCP, UDP, SCTP))
IS_ICMP = np.isin(np.arange(256), (ICMP, ICMP6))
HEXADECIMAL = np.frombuffer(b"0123456789abcdef", np.uint8)

# Messages that carry an identifier. conntrack reads one from ICMPv6 node information (139, 140) too, but there those
# bytes are the query's type (RFC 4620).
ICMP_WITH_ID = (0, 8, 13, 14, 15, 16, 17, 18)
ICMP6_WITH_ID = (128, 129)

PRIMARY = (None, False, True)

LARGEST = np.iinfo(np.int64).max


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
        return _numbers(np.minimum(values, LARGEST) if values.dtype == np.uint64 else values)

    return read


def labels(field: str, names: Mapping[int, str]) -> Read:
    """Read an octet of the connection's tuple as the name it has; absent where it has none."""
    table = _table(names)
    return lambda batch: _of_table(batch.connections["original"][field], table)


def protocol(batch: Batch) -> Column:
    """Read the IP protocol number."""
    return _numbers(batch.connections["original"]["proto"])


def enum(field: str, kind: type[IntEnum]) -> Read:
    """Read an enum field as its member's name in lower case."""
    table = _table({member.value: member.name.lower() for member in kind})
    return lambda batch: _of_table(batch.connections[field], table)


def address(role: str) -> Read:
    """Read an end's address; ``role`` is a key of :data:`natlens.otlp.batch.ROLES`."""
    return _of_ends(role, lambda end: end.address)


def port(side: Literal["sport", "dport"], translation: Nat = Nat.NONE) -> Callable[[Batch], Numbers]:
    """Read a port of a protocol that has ports; absent where both are 0 (a fragment whose first was not seen)."""

    def read(batch: Batch) -> Numbers:
        tuples = batch.connections["translated" if translation else "original"]
        with_ports = HAS_PORTS[tuples["proto"]] & _header_seen(tuples)
        return _numbers(tuples[side], with_ports & _translated(batch, translation))

    return read


def icmp(part: Literal["type", "code", "id"]) -> Read:
    """Read a part of the ICMP header; the identifier only of messages that have one."""

    def read(batch: Batch) -> Column:
        tuples = batch.connections["original"]
        if part == "id":
            return _numbers(tuples["sport"], _with_icmp_id(tuples))
        present = IS_ICMP[tuples["proto"]] & _header_seen(tuples)
        return _numbers(tuples["dport"] >> 8 if part == "type" else tuples["dport"] & 0xFF, present)

    return read


def nat_icmp_id(batch: Batch) -> Column:
    """Read the identifier after translation, only where it was changed.

    conntrack treats it as a port of the source, but it belongs to neither end: so it is a neighbour
    of ``flow.icmp.id`` and not ``source.nat.port``. It joins a ping's records across nodes.
    """
    original, after = batch.connections["original"], batch.connections["translated"]
    changed = (_nat(batch) != Nat.NONE) & _with_icmp_id(original) & (original["sport"] != after["sport"])
    return _numbers(after["sport"], changed)


def nat_kind(batch: Batch) -> Column:
    """Read which sides were translated."""
    return _of_table(_nat(batch), NAT_KINDS)


def nat_source(batch: Batch) -> Column:
    """Read how the translation was learned."""
    of = np.where(_nat(batch) == Nat.NONE, TranslationSource.NONE, batch.connections["nat_source"])
    return _of_table(of, NAT_SOURCES)


def zone(batch: Batch) -> Column:
    """Read the conntrack zone; absent where conntrack's word was not heard."""
    zones = batch.connections["zone"]
    return _numbers(zones, zones >= 0)


def interface(batch: Batch) -> Column:
    """Read the name of the interface that counted the connection first."""
    different, codes = np.unique(batch.connections["ifindex"], return_inverse=True)
    return Choice(codes, [text(batch.interface_names.get(index)) for index in different.tolist()])


def sampling_rate(batch: Batch) -> Column:
    """Read of how many connections each is one; absent where all are counted."""
    rate = batch.sampling_rate
    return Choice(np.zeros(len(batch), np.intp), [rate if rate > 1 else None])


def duration(batch: Batch) -> Column:
    """Read the time from start to end in seconds, on a connection's last record only."""
    rows = batch.connections
    return Numbers((rows["end_ns"] - rows["start_ns"]) / 1e9, rows["end_reason"] != EndReason.ACTIVE_TIMEOUT)


def reporter(batch: Batch) -> Column:
    """Read where this node stands towards the connection."""
    unknown = np.zeros(len(batch), np.uint8)
    return _of_table(unknown if batch.standing is None else batch.standing.reporter, REPORTERS)


def primary(batch: Batch) -> Column:
    """Read whether this record is the one that counts; absent where nobody knows."""
    if batch.standing is None:
        return Choice(np.zeros(len(batch), np.intp), PRIMARY)
    known = batch.standing.reporter != 0
    return Choice(np.where(known, 1 + batch.standing.primary, 0), PRIMARY)


def flow_id(batch: Batch) -> Column:
    """Read the 128-bit id as 32 hexadecimal digits, first word first."""
    octets = batch.connections["flow_id"].astype(">u8").view(np.uint8).reshape(-1, 16)
    nibbles = np.stack([octets >> 4, octets & 0xF], axis=-1).reshape(-1, 32)
    return Digits(HEXADECIMAL[nibbles])


def flags(field: str) -> Read:
    """Read a union of TCP flags as their names in the order of their bits; absent where none was seen."""

    def read(batch: Batch) -> Column:
        is_tcp = batch.connections["original"]["proto"] == TCP
        return _of_table(np.where(is_tcp, batch.connections[field], 0), FLAG_NAMES)

    return read


def endpoint(role: str, field: str) -> Read:
    """Read a field of the endpoint in ``role`` (a key of :data:`natlens.otlp.batch.ROLES`)."""

    def read(end: End) -> Value | None:
        value: str | bool | None = getattr(end.endpoint, field)
        return text(value) if isinstance(value, str) else value

    return _of_ends(role, read)


def selected(role: str, batch: Batch) -> Sequence[Pairs | None]:
    """Return the labels and annotations of each end in ``role`` by attribute, as they were asked for.

    An empty label is a label, as in OpenTelemetry's conventions of ``k8s.pod.label``.
    """
    each: Sequence[End | None] = getattr(batch, ROLES[role]).each
    return _EachOf(each, lambda end: _pairs(role, end.endpoint.selected))


def _pairs(role: str, found: Pairs) -> Pairs:
    """Return names and values as UTF-8 can carry them, each name once."""
    return tuple({f"{role}.{text(name)}": text(value) or "" for name, value in found if name}.items())


class _EachOf(Sequence[Found | None]):
    """What ``read`` gives for each of some ends, when it is asked for: the encoder knows most of them already."""

    def __init__(self, ends: Sequence[End | None], read: Callable[[End], Found | None]) -> None:
        self._ends, self._read = ends, read

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, at: Any) -> Any:  # one, not a slice
        end = self._ends[at]
        return None if end is None else self._read(end)


def _of_ends(role: str, read: Callable[[End], Value | None]) -> Read:
    def column(batch: Batch) -> Column:
        ends: Ends = getattr(batch, ROLES[role])
        return Choice(ends.codes, _EachOf(ends.each, read), ends.each)

    return column


def _numbers(values: npt.NDArray[Any], present: Mask | None = None) -> Numbers:
    return Numbers(values.astype(np.int64), present)


def _table(names: Mapping[int, str]) -> list[str | None]:
    """Return the name of each number, None where it has none; the last stands for all larger ones."""
    return [names.get(number) for number in range(max(names) + 2)]


NAT_SOURCES = _table({source.value: source.name.lower() for source in TranslationSource if source})
REPORTERS = _table({reporter.value: reporter.name.lower() for reporter in Reporter})


def _of_table(numbers: npt.NDArray[Any], table: Sequence[Value | None]) -> Choice:
    return Choice(np.minimum(numbers, len(table) - 1).astype(np.intp), table)


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
    found: Mask = IS_ICMP[tuples["proto"]]
    if found.any():
        kind, proto = tuples["dport"] >> 8, tuples["proto"]
        found = ((proto == ICMP) & np.isin(kind, ICMP_WITH_ID)) | ((proto == ICMP6) & np.isin(kind, ICMP6_WITH_ID))
        found &= _header_seen(tuples)
    return found
