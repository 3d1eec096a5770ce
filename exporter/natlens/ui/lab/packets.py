"""What one packet on a wire is: its directed tuple, its octets, its segments. For :mod:`natlens.ui.lab.wire`."""

import socket
import struct
from typing import NamedTuple

__all__ = ["ICMP", "ICMP6", "IP", "IPV6", "SCTP", "TCP", "UDP", "Directed", "Ports", "read_packet"]

IP, IPV6 = 0x0800, 0x86DD
ICMP, TCP, UDP, ICMP6, SCTP = 1, 6, 17, 58, 132
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
WITH_IDENTIFIER = {ICMP: {0: 8, 8: 0, 13: 14, 14: 13}, ICMP6: {128: 129, 129: 128}}  # type → type of the answer
JUMBO = 8  # hop-by-hop header that BIG TCP puts in and takes out again before the wire

Ports = dict[tuple[object, ...], tuple[int, int, int]]
"""Datagrams whose fragments are under way: (source, destination, identification) → protocol and ports."""


class Directed(NamedTuple):
    """A directed tuple. ICMP: ``sport`` is the identifier, ``dport`` type << 8 | code."""

    src: str
    sport: int
    dst: str
    dport: int
    proto: int

    def turned(self) -> "Directed":
        """Return the tuple of the answers."""
        if self.proto in WITH_IDENTIFIER:
            answer = WITH_IDENTIFIER[self.proto].get(self.dport >> 8, 255)
            return Directed(self.dst, self.sport, self.src, answer << 8 | self.dport & 0xFF, self.proto)
        return Directed(self.dst, self.dport, self.src, self.sport, self.proto)


class _Header(NamedTuple):
    """What both IP versions come to."""

    src: str
    dst: str
    proto: int
    length: int  # of everything before the transport header
    octets: int  # of the packet
    extra: int  # of what is not on the wire
    fragment: tuple[object, ...] | None  # which datagram it is a part of
    first: bool


def _ip4(data: bytes, length: int) -> _Header:
    total, identification, offset, proto = struct.unpack_from("!HHH x B", data, 2)
    src, dst = (socket.inet_ntop(socket.AF_INET, data[at : at + 4]) for at in (12, 16))
    part = (src, dst, identification) if offset & 0x3FFF else None
    return _Header(src, dst, proto, (data[0] & 0xF) * 4, total or length, 0, part, not offset & 0x1FFF)


def _ip6(data: bytes, length: int) -> _Header:
    payload, proto = struct.unpack_from("!HB", data, 4)
    src, dst = (socket.inet_ntop(socket.AF_INET6, data[at : at + 16]) for at in (8, 24))
    extra = JUMBO if not payload and proto == HOP_BY_HOP else 0
    part, first, at = None, True, 40
    while first and proto in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION):
        following = data[at]
        if proto == FRAGMENT:
            offset, identification = struct.unpack_from("!HI", data, at + 2)
            part, first = (src, dst, identification), not offset & 0xFFF8
            at += 8
        else:
            at += (data[at + 1] + 1) * 8
        proto = following
    return _Header(src, dst, proto, at, 40 + payload if payload else length, extra, part, first)


def _ports(header: _Header, data: bytes) -> tuple[int, int]:
    kind, code = data[0], data[1]
    if header.proto in WITH_IDENTIFIER:
        identifier = struct.unpack_from("!H", data, 4)[0] if kind in WITH_IDENTIFIER[header.proto] else 0
        return identifier, kind << 8 | code
    if header.proto in (TCP, UDP, SCTP):
        source, destination = struct.unpack_from("!HH", data)
        return source, destination
    return 0, 0


def _transport_length(header: _Header, data: bytes) -> int:
    return (data[12] >> 4) * 4 if header.proto == TCP else 8


def read_packet(
    protocol: int, data: bytes, length: int, gso_size: int, fragments: Ports
) -> tuple[Directed, int, int] | None:
    """Return tuple, octets and segments of a packet that begins with its IP header; None for what is not IP.

    ``data`` may be cut off behind the headers, ``length`` is the whole; with a ``gso_size`` it stands for several
    segments.
    """
    if protocol not in (IP, IPV6):
        return None
    header = _ip4(data, length) if protocol == IP else _ip6(data, length)
    behind = data[header.length :]
    if header.first:
        proto, source, destination = header.proto, *_ports(header, behind)
        if header.fragment:
            fragments[header.fragment] = proto, source, destination
    else:
        proto, source, destination = fragments.get(header.fragment or (), (header.proto, 0, 0))
    octets, segments = header.octets - header.extra, 1
    if gso_size:
        repeated = header.length - header.extra + _transport_length(header, behind)
        segments = -(-(octets - repeated) // gso_size)
        octets += (segments - 1) * repeated
    return Directed(header.src, source, header.dst, destination, proto), octets, segments
