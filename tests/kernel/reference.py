"""What a packet should be counted as, written from the RFCs, as a second opinion on bpf/parse.h.

Where the RFCs leave a choice, this one says which: a header that does not fit into what its packet says it holds
is *truncated*; upper-layer lengths and checksums are the receiver's matter; a packet's name is that of its innermost
fragment header; up to 8 IPv6 extension headers and 3 VLAN tags are followed.
"""

from collections import Counter
from dataclasses import dataclass, field
from struct import Struct

__all__ = ["Generation", "Reference", "Sighting", "Unparsed", "dissect"]

VLAN = {0x8100, 0x88A8}
MAX_TAGS, MAX_EXTENSIONS = 3, 8
IP4, IP6 = 0x0800, 0x86DD
TCP, UDP, SCTP, ICMP, ICMP6 = 6, 17, 132, 1, 58
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION = 0, 43, 44, 51, 60
SIZES = {TCP: 20, UDP: 8, SCTP: 12, ICMP: 8, ICMP6: 8}  # least octets: RFC 9293, 768, 9260, 792, 4443
ICMP_QUERIES = {0, 8, 13, 14, 15, 16, 17, 18}  # RFC 792, 950: those that have an identifier
ICMP6_QUERIES = {128, 129, 139, 140}  # RFC 4443; 4620, which Linux tracks by the same field
SYN, ACK = 2, 16
MAPPED = bytes(10) + b"\xff\xff"
TUPLE = Struct("=16s16sHHBBH")  # struct tuple
U16, U32 = Struct(">H"), Struct(">I")
IP4_HEADER = Struct(">BxHHHxBxx4s4s")
IP6_HEADER = Struct(">B3xHBx16s16s")
FRAGMENT_HEADER = Struct(">BxHI")
Name = tuple[int, int, int]  # sport, dport, protocol


class Unparsed(Exception):  # no error: an answer
    """The packet is counted as not parsed; its argument is the counter."""


@dataclass
class Sighting:
    """One packet, before fragments are named."""

    src: bytes
    dst: bytes
    family: int
    protocol: int = 0
    sport: int = 0
    dport: int = 0
    octets: int = 0
    packets: int = 1
    flags: int = 0
    sequence: int = 0
    fragment: bytes = b""  # the name of its datagram; empty: whole
    later: bool = False  # ports are in its first fragment


def _need(available: int, wanted: int) -> None:
    if available < wanted:
        raise Unparsed("unparsed_truncated")


def dissect(frame: bytes, protocol: int, at: int, gso: tuple[int, int] = (0, 0)) -> Sighting | None:
    """Read the packet that begins at ``at`` and that the link layer calls ``protocol``; None: not IP.

    ``gso``: size and number of segments, of which either may be 0.
    """
    tags = 0
    while protocol in VLAN:
        if tags == MAX_TAGS:
            raise Unparsed("unparsed_vlan")
        _need(len(frame) - at, 4)
        (protocol,) = U16.unpack_from(frame, at + 2)
        at, tags = at + 4, tags + 1
    if protocol == IP4:
        return _ip4(frame[at:], gso)
    if protocol == IP6:
        return _ip6(frame[at:], gso)
    return None


def _ip4(packet: bytes, gso: tuple[int, int]) -> Sighting:
    _need(len(packet), 20)
    first, length, identification, fragment, protocol, src, dst = IP4_HEADER.unpack_from(packet)
    header = (first & 15) * 4
    if first >> 4 != 4 or header < 20:
        raise Unparsed("unparsed_header")
    if not length and gso[0]:  # BIG TCP
        length = len(packet)
    _need(length, header)
    _need(len(packet), length)
    sighting = Sighting(MAPPED + src, MAPPED + dst, 4, protocol, octets=length)
    if fragment & 0x3FFF:
        sighting.fragment = src + dst + bytes([protocol]) + U16.pack(identification)
        sighting.later = fragment & 0x1FFF != 0
    if not sighting.later:
        _upper(sighting, packet[:length], header, gso)
    return sighting


def _ip6(packet: bytes, gso: tuple[int, int]) -> Sighting:
    _need(len(packet), 40)
    first, payload, following, src, dst = IP6_HEADER.unpack_from(packet)
    if first >> 4 != 6:
        raise Unparsed("unparsed_header")
    length, inserted = 40 + payload, 0
    if not payload and gso[0]:  # BIG TCP: a hop-by-hop header that stays in the host
        length, inserted = len(packet), 8 if following == HOP_BY_HOP else 0
    _need(len(packet), length)
    sighting = Sighting(src, dst, 6, octets=length - inserted)
    at = _extensions(sighting, packet[:length], following)
    if not sighting.later:
        _upper(sighting, packet[:length], at, gso, inserted)
    return sighting


def _extensions(sighting: Sighting, packet: bytes, following: int) -> int:
    """Follow the chain (RFC 8200, 4); returns where the upper layer begins."""
    at, seen = 40, 0
    while following in (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION):
        seen += 1
        if seen > MAX_EXTENSIONS:
            raise Unparsed("unparsed_extensions")
        kind = following
        _need(len(packet), at + (8 if kind == FRAGMENT else 2))
        following, length = packet[at], packet[at + 1]
        if kind == FRAGMENT:
            if _fragment(sighting, packet, at):
                return at + 8
            at += 8
            continue
        at += (length + 2) * 4 if kind == AUTHENTICATION else (length + 1) * 8
        _need(len(packet), at)
    sighting.protocol = following
    return at


def _fragment(sighting: Sighting, packet: bytes, at: int) -> bool:
    """Read a fragment header; tells whether what follows is not the datagram's beginning."""
    following, offset, identification = FRAGMENT_HEADER.unpack_from(packet, at)
    sighting.protocol = following
    sighting.later = offset >> 3 != 0
    # alone in its datagram ("atomic", RFC 6946): whole
    name = sighting.src + sighting.dst + bytes([following]) + U32.pack(identification)
    sighting.fragment = name if offset & 0xFFF9 else b""
    return sighting.later


def _upper(sighting: Sighting, packet: bytes, at: int, gso: tuple[int, int], inserted: int = 0) -> None:
    protocol = sighting.protocol
    size = SIZES.get(protocol)
    if size is None:
        return
    _need(len(packet) - at, size)
    (one,), (two,) = U16.unpack_from(packet, at), U16.unpack_from(packet, at + 2)
    if protocol in (ICMP, ICMP6):
        sighting.dport = one
        if one >> 8 in (ICMP_QUERIES if protocol == ICMP else ICMP6_QUERIES):
            (sighting.sport,) = U16.unpack_from(packet, at + 4)
        return
    sighting.sport, sighting.dport = one, two
    if protocol == TCP:
        (sighting.sequence,) = U32.unpack_from(packet, at + 4)
        sighting.flags = packet[at + 13]
        size = (packet[at + 12] >> 4) * 4
    if gso[0]:
        _segments(sighting, at + size - inserted, gso)


def _segments(sighting: Sighting, headers: int, gso: tuple[int, int]) -> None:
    """Every segment repeats the headers in front of the payload."""
    size, count = gso
    payload = sighting.octets - headers
    if not count:
        count = -(-payload // size) if payload > 0 else 1
    sighting.packets = count
    sighting.octets += (count - 1) * headers


@dataclass
class Generation:
    """What one row should hold."""

    octets: int
    packets: int
    flags: int
    syn: int  # bits of enum syn
    sequence: int

    def numbers(self) -> tuple[int, int, int, int, int]:
        """Return all of it, comparable."""
        return self.octets, self.packets, self.flags, self.syn, self.sequence


@dataclass
class Reference:
    """Counts packets as the kernel should: tuples to generations, and every counter."""

    rows: dict[bytes, list[Generation]] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    fragments: dict[bytes, Name] = field(default_factory=dict)

    def see(self, frame: bytes, protocol: int, at: int, gso: tuple[int, int] = (0, 0), *, counts: bool = True) -> None:
        """Take one packet; ``counts`` false: it is read, and leaves no row (a forwarded packet at egress)."""
        try:
            sighting = dissect(frame, protocol, at, gso)
        except Unparsed as why:
            self.counters[str(why)] += 1
            return
        if sighting is None:
            return
        if sighting.fragment:
            self._name(sighting)
        if counts:
            self._count(sighting)

    def _name(self, sighting: Sighting) -> None:
        if not sighting.later:
            self.fragments[sighting.fragment] = (sighting.sport, sighting.dport, sighting.protocol)
        elif sighting.fragment in self.fragments:
            sighting.sport, sighting.dport, sighting.protocol = self.fragments[sighting.fragment]
        else:
            self.counters["fragments_without_first"] += 1

    def _count(self, seen: Sighting) -> None:
        key = TUPLE.pack(seen.src, seen.dst, seen.sport, seen.dport, seen.protocol, seen.family, 0)
        generations = self.rows.get(key)
        if generations is None:
            generations = self.rows[key] = []
        last = generations[-1] if generations else None
        syn, opened = 0, 0
        if seen.flags & SYN:
            syn, opened = 1 | 2 | (4 if seen.flags & ACK else 0), seen.sequence
            if last and not (last.syn and last.sequence == opened):
                last = None  # a new connection under the same tuple
        if last is None:
            generations.append(Generation(seen.octets, seen.packets, seen.flags, syn, opened))
            return
        last.octets += seen.octets
        last.packets += seen.packets
        last.flags |= seen.flags
