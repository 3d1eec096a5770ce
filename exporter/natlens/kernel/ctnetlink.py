"""ctnetlink's messages: questions to conntrack, and entries read from its answers. Pure: no sockets.

Layout: ``linux/netlink.h``, ``linux/netfilter/nfnetlink.h`` and ``nfnetlink_conntrack.h`` of the kernel's UAPI. Why not
pyroute2's: ADR 10.
"""

import struct
from collections.abc import Iterator

__all__ = [
    "DELETED",
    "DONE",
    "ENTRY",
    "ERROR",
    "KEY_BYTES",
    "V4_MAPPED",
    "attributes",
    "dump_request",
    "error_code",
    "get_request",
    "is_translated",
    "key",
    "messages",
]

SUBSYSTEM = 1 << 8  # NFNL_SUBSYS_CTNETLINK
GET = SUBSYSTEM | 1  # IPCTNL_MSG_CT_GET
ENTRY = SUBSYSTEM | 0  # IPCTNL_MSG_CT_NEW: how entries are answered
DELETED = SUBSYSTEM | 2  # IPCTNL_MSG_CT_DELETE: an entry that ended
ERROR, DONE = 2, 3
REQUEST, DUMP = 0x1, 0x300

HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
GENERIC = struct.Struct("!BBH")  # nfgenmsg: family, version, resource
ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type
NESTED, TYPE_MASK = 0x8000, 0x3FFF

ORIGINAL, REPLY, ZONE = 1, 2, 18  # CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ZONE
IP, PROTOCOL = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO
NUMBER, SOURCE_PORT, DESTINATION_PORT = 1, 2, 3  # CTA_PROTO_NUM …
ADDRESSES = {4: (1, 2), 6: (3, 4)}  # CTA_IP_V4_SRC and _DST, CTA_IP_V6_SRC and _DST
ICMP = {1: (4, 5, 6), 58: (7, 8, 9)}  # CTA_PROTO_ICMP_ID, _TYPE, _CODE, and those of ICMPv6
WITH_PORTS = (6, 17, 132)

V4_MAPPED = bytes(10) + b"\xff\xff"
TUPLE = struct.Struct("=16s16sHHBBH")  # struct tuple of bpf/types.h
SCOPE = struct.Struct("=HH")  # struct translation_key after its tuples: zone, reserved
KEY_BYTES = 2 * TUPLE.size + SCOPE.size

Attributes = dict[int, bytes]

PLAIN = struct.Struct("!I4x4x4s4x4s4x4xB3x4xH2x4xH2xI4x4x4s4x4s4x4xB3x4xH2x4xH2x")
"""ORIGINAL and REPLY of a protocol with ports over IPv4, as the kernel writes them: of nearly every entry."""
PLAIN_HEADS = tuple(int.from_bytes(ATTRIBUTE.pack(PLAIN.size // 2, kind | NESTED), "big") for kind in (ORIGINAL, REPLY))
ZONE_HEAD = ATTRIBUTE.pack(ATTRIBUTE.size + 2, ZONE)


def dump_request(family: int) -> bytes:
    """Return the question for every entry; ``family`` is AF_UNSPEC, AF_INET or AF_INET6."""
    return HEADER.pack(HEADER.size + GENERIC.size, GET, REQUEST | DUMP, 0, 0) + GENERIC.pack(family, 0, 0)


def get_request(family: int, source: bytes, destination: bytes, ports: tuple[int, int], protocol: int) -> bytes:
    """Return the question for the entry with this ORIGINAL tuple; addresses have 4 or 16 octets.

    TCP, UDP and SCTP; or an ICMP echo, its ``ports`` as ``struct tuple`` has them: identifier, type and code.
    """
    of_source, of_destination = ADDRESSES[4 if len(source) == 4 else 6]
    ip = _attribute(of_source, source) + _attribute(of_destination, destination)
    transport = _attribute(NUMBER, bytes([protocol]))
    for kind, value in _written(ports, protocol):
        transport += _attribute(kind, value)
    asked = _attribute(ORIGINAL | NESTED, _attribute(IP | NESTED, ip) + _attribute(PROTOCOL | NESTED, transport))
    length = HEADER.size + GENERIC.size + len(asked)
    return HEADER.pack(length, GET, REQUEST, 0, 0) + GENERIC.pack(family, 0, 0) + asked


def _written(ports: tuple[int, int], protocol: int) -> Iterator[tuple[int, bytes]]:
    """Yield attributes that tell of sport and dport: what :func:`_ports` reads."""
    first, second = (port.to_bytes(2, "big") for port in ports)
    if protocol in ICMP:
        yield from zip(ICMP[protocol], (first, second[:1], second[1:]), strict=True)
    else:
        yield from ((SOURCE_PORT, first), (DESTINATION_PORT, second))


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, what follows the header) of each message; what is cut off is left out."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, *_ = HEADER.unpack_from(data, at)
        if not HEADER.size <= length <= len(data) - at:
            return
        yield kind, data[at + HEADER.size : at + length]
        at += length + 3 & ~3


def error_code(body: bytes) -> int:
    """Return the errno of an error message, 0 for an acknowledgement."""
    return -int(struct.unpack_from("=i", body)[0]) if len(body) >= 4 else 0


def key(body: bytes) -> bytes | None:
    """Return an entry as ``struct translation_key`` of bpf/types.h; None where a tuple of it is missing or odd.

    ``body`` is that of a message of type :data:`ENTRY`. Costs 3 µs, or 30 where it is not as nearly all are.
    """
    return _plain_key(body) or _odd_key(body)


def _plain_key(body: bytes) -> bytes | None:
    if len(body) < GENERIC.size + PLAIN.size:
        return None
    head, source, destination, protocol, sport, dport, other, answerer, asker, same, from_port, to_port = (
        PLAIN.unpack_from(body, GENERIC.size)
    )
    if (head, other) != PLAIN_HEADS or protocol != same or protocol not in WITH_PORTS:
        return None
    zone, at = 0, GENERIC.size + PLAIN.size
    if body[at : at + ATTRIBUTE.size] == ZONE_HEAD:
        zone = int.from_bytes(body[at + ATTRIBUTE.size : at + ATTRIBUTE.size + 2], "big")
    return (
        TUPLE.pack(V4_MAPPED + source, V4_MAPPED + destination, sport, dport, protocol, 4, 0)
        + TUPLE.pack(V4_MAPPED + answerer, V4_MAPPED + asker, from_port, to_port, protocol, 4, 0)
        + SCOPE.pack(zone, 0)
    )


def _odd_key(body: bytes) -> bytes | None:
    entry = attributes(body[GENERIC.size :])
    try:
        tuples = _tuple(entry[ORIGINAL]) + _tuple(entry[REPLY])
    except (KeyError, IndexError, struct.error):
        return None
    return tuples + SCOPE.pack(int.from_bytes(entry.get(ZONE, b""), "big"), 0)


def is_translated(key: bytes) -> bool:
    """Tell whether REPLY is more than the inverse of ORIGINAL; ``key`` is what :func:`key` returns."""
    source, destination, sport, dport, protocol, *_ = TUPLE.unpack_from(key)
    other_source, other_destination, other_sport, other_dport, *_ = TUPLE.unpack_from(key, TUPLE.size)
    if (source, destination) != (other_destination, other_source):
        return True
    return sport != other_sport if protocol in ICMP else (sport, dport) != (other_dport, other_sport)


def _tuple(nested: bytes) -> bytes:
    parts = attributes(nested)
    ip, transport = attributes(parts[IP]), attributes(parts[PROTOCOL])
    family = 4 if ADDRESSES[4][0] in ip else 6
    source, destination = (ip[kind] for kind in ADDRESSES[family])
    if family == 4:
        source, destination = V4_MAPPED + source, V4_MAPPED + destination
    protocol = transport[NUMBER][0]
    return TUPLE.pack(source, destination, *_ports(transport, protocol), protocol, family, 0)


def _ports(transport: Attributes, protocol: int) -> tuple[int, int]:
    """Return sport and dport as ``struct tuple`` has them."""
    if protocol in ICMP:
        identifier, kind, code = (int.from_bytes(transport.get(one, b""), "big") for one in ICMP[protocol])
        return identifier, kind << 8 | code
    if protocol in WITH_PORTS:
        return int.from_bytes(transport[SOURCE_PORT], "big"), int.from_bytes(transport[DESTINATION_PORT], "big")
    return 0, 0


def attributes(data: bytes) -> Attributes:
    """Return attributes by their type; what is cut off is left out."""
    found, at = {}, 0
    while at + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if not ATTRIBUTE.size <= length <= len(data) - at:
            break
        found[kind & TYPE_MASK] = data[at + ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return found


def _attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)
