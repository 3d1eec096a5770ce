"""rtnetlink's messages about devices, addresses and routes, as bytes say it. Pure: no sockets.

Layout: ``linux/rtnetlink.h``, ``if_link.h``, ``if_addr.h`` of the kernel's UAPI. pyroute2 takes 25 times as long over
a route, and a node may have thousands.
"""

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from natlens.kernel.coverage import Link
from natlens.kernel.ctnetlink import attributes

__all__ = [
    "DELLINK",
    "DONE",
    "ERROR",
    "GET",
    "GROUPS",
    "GROUP_LINK",
    "NEWADDRESS",
    "NEWLINK",
    "NEWROUTE",
    "Address",
    "Message",
    "Nexthop",
    "Route",
    "dump_request",
    "gone_links",
    "messages",
]

NEWLINK, DELLINK, NEWADDRESS, DELADDRESS, NEWROUTE, DELROUTE = 16, 17, 20, 21, 24, 25
NEWNEXTHOP, DELNEXTHOP = 104, 105
GET = {NEWLINK: 18, NEWADDRESS: 22, NEWROUTE: 26}
ERROR, DONE = 2, 3
REQUEST, DUMP, REPLACE = 0x1, 0x300, 0x100

GROUP_LINK = 0x1
GROUPS = GROUP_LINK | 0x10 | 0x40 | 0x100 | 0x400 | 1 << 31  # IPv4 and IPv6 addresses and routes, nexthop objects

HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, hardware, index, flags, change
ADDRESS = struct.Struct("=BBBBi")  # ifaddrmsg: family, prefix length, flags, scope, index
ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, lengths of dst and src, TOS, table, protocol, scope, type, flags
NEXT_HOP = struct.Struct("=HBBi")  # rtnexthop: length, flags, hops, index
VIA = struct.Struct("=H")  # rtvia: family, then the address
NEXTHOP_BYTES = 8  # nhmsg

UP, CLONED = 0x1, 0x200  # IFF_UP, RTM_F_CLONED
UNICAST, BLACKHOLE, UNREACHABLE, PROHIBIT = 1, 6, 7, 8
BITS = {socket.AF_INET: 32, socket.AF_INET6: 128}


class Address(NamedTuple):
    """An address of a device of the namespace."""

    ifindex: int
    address: str
    broadcast: str | None


class Route(NamedTuple):
    """A unicast route, or one that leads nowhere (``ifindex`` 0)."""

    version: int  # 4 or 6
    prefix: int  # the network's address as a number
    length: int
    table: int
    metric: int
    ifindex: int
    gateway: str | None
    encapsulated: bool
    """Packets are put into others on the way (RTA_ENCAP)."""
    source: str | None
    """The address that the host prefers by it (RTA_PREFSRC)."""
    nexthop: int = 0
    """The nexthop object that it leads by: the route goes with it, unsaid."""


class Nexthop(NamedTuple):
    """A nexthop object."""

    number: int


class Message(NamedTuple):
    """What is (``there``) or is no more; None: nothing that is of use here."""

    what: Link | Address | Route | Nexthop | None
    there: bool
    up: bool = True
    """A link's: devices that are down have no routes, and IPv4's go without a word."""
    replaces: bool = False
    """A route's: it takes the place of those to the same prefix with the same metric."""
    kind: int = 0


def dump_request(kind: int) -> bytes:
    """Return the question for everything that is told by messages of ``kind``: NEWLINK, NEWADDRESS or NEWROUTE."""
    body = bytes({NEWLINK: LINK, NEWADDRESS: ADDRESS, NEWROUTE: ROUTE}[kind].size)
    return HEADER.pack(HEADER.size + len(body), GET[kind], REQUEST | DUMP, 0, 0) + body


def messages(data: bytes) -> Iterator[Message]:
    """Read what one call of ``recv`` returned; what is cut off is left out."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, flags, *_ = HEADER.unpack_from(data, at)
        if not HEADER.size <= length <= len(data) - at:
            return
        yield _message(kind, flags, data[at + HEADER.size : at + length])
        at += length + 3 & ~3


def gone_links(data: bytes) -> Iterator[int]:
    """Yield the devices (ifindex) of which one call of ``recv`` says that they are no more; the rest is not read."""
    at = 0
    while at + HEADER.size + LINK.size <= len(data):
        length, kind, *_ = HEADER.unpack_from(data, at)
        if length < HEADER.size:
            return
        if kind == DELLINK:
            family, _, index, *_ = LINK.unpack_from(data, at + HEADER.size)
            if family == socket.AF_UNSPEC:  # AF_BRIDGE: it is a bridge's port no more
                yield index
        at += length + 3 & ~3


def _message(kind: int, flags: int, body: bytes) -> Message:
    there = not kind & 1
    try:
        if kind in (NEWLINK, DELLINK):
            what, up = _link(body)
            return Message(what, there, up, kind=kind)
        if kind in (NEWADDRESS, DELADDRESS):
            return Message(_address(body), there, kind=kind)
        if kind in (NEWROUTE, DELROUTE):
            return Message(_route(body), there, replaces=bool(flags & REPLACE), kind=kind)
        if kind in (NEWNEXTHOP, DELNEXTHOP):
            return Message(Nexthop(_number(attributes(body[NEXTHOP_BYTES:])[1])), there, kind=kind)
    except (KeyError, struct.error, OSError, ValueError):
        return Message(None, there, kind=kind)
    return Message(None, there, kind=kind)


def _link(body: bytes) -> tuple[Link | None, bool]:
    family, hardware, index, flags, _ = LINK.unpack_from(body)
    if family != socket.AF_UNSPEC:  # AF_BRIDGE: what a port is to its bridge; "deleted" is no device there
        return None, True
    found = attributes(body[LINK.size :])
    kind = attributes(found.get(18, b"")).get(1, b"")  # IFLA_LINKINFO, IFLA_INFO_KIND
    link = Link(
        index=index,
        name=_text(found[3]),
        hardware=hardware,
        kind=_text(kind),
        master=_number(found.get(10)),
        lower=_number(found.get(5)),
        lower_elsewhere=37 in found,
    )
    return link, bool(flags & UP)


def _address(body: bytes) -> Address:
    family, _, _, _, index = ADDRESS.unpack_from(body)
    found = attributes(body[ADDRESS.size :])
    broadcast = socket.inet_ntop(family, found[4]) if 4 in found else None
    return Address(index, socket.inet_ntop(family, found[2] if 2 in found else found[1]), broadcast)


def _route(body: bytes) -> Route | None:
    family, length, _, _, table, _, _, kind, flags = ROUTE.unpack_from(body)
    if family not in BITS or kind not in (UNICAST, BLACKHOLE, UNREACHABLE, PROHIBIT) or flags & CLONED:
        return None
    found = attributes(body[ROUTE.size :])
    metric = _number(found.get(6))
    hop = found
    index = _number(found.get(4))
    if 9 in found:  # RTA_MULTIPATH: the first of them stands for all
        size, _, _, index = NEXT_HOP.unpack_from(found[9])
        hop = attributes(found[9][NEXT_HOP.size : size])
    return Route(
        version=4 if family == socket.AF_INET else 6,
        prefix=int.from_bytes(found.get(1, bytes(BITS[family] // 8)), "big"),
        length=length,
        table=_number(found.get(15)) or table,
        metric=metric,
        ifindex=index if kind == UNICAST else 0,
        gateway=_gateway(family, hop),
        encapsulated=22 in hop,
        source=socket.inet_ntop(family, found[7]) if 7 in found else None,
        nexthop=_number(found.get(30)),
    )


def _gateway(family: int, hop: dict[int, bytes]) -> str | None:
    if 5 in hop:
        return socket.inet_ntop(family, hop[5])
    if 18 in hop:  # RTA_VIA: a gateway of the other family
        (of_other_kind,) = VIA.unpack_from(hop[18])
        return socket.inet_ntop(of_other_kind, hop[18][VIA.size :])
    return None


def _number(value: bytes | None) -> int:
    return struct.unpack("=I", value)[0] if value else 0


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
