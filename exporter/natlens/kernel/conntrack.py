"""ctnetlink: connections older than the agent, and those that no packet of theirs explains."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from natlens.errors import KernelError
from natlens.kernel.netlink import conntrack_socket, conntrack_tuple
from natlens.kernel.structs import TranslationSource
from natlens.kernel.windows import TRANSLATIONS

__all__ = ["ask", "dump"]

Entry = tuple[Any, Any]

V4_MAPPED = bytes(10) + b"\xff\xff"
ICMP = {1: "ICMP", 58: "ICMPV6"}
WITH_PORTS = (6, 17, 132)


def _addresses(message: Any) -> tuple[bytes, bytes, int]:  # pyroute2 is untyped
    ip = message.get_attr("CTA_TUPLE_IP")
    if ip.get_attr("CTA_IP_V4_SRC") is not None:
        source, destination = (ip_address(ip.get_attr(f"CTA_IP_V4_{end}")).packed for end in ("SRC", "DST"))
        return V4_MAPPED + source, V4_MAPPED + destination, 4
    source, destination = (ip_address(ip.get_attr(f"CTA_IP_V6_{end}")).packed for end in ("SRC", "DST"))
    return source, destination, 6


def _ports(protocol: Any) -> tuple[int, int, int]:  # pyroute2 is untyped
    """Return sport, dport and protocol number as ``struct tuple`` has them."""
    number = protocol.get_attr("CTA_PROTO_NUM")
    if number in ICMP:
        identifier, kind, code = (
            protocol.get_attr(f"CTA_PROTO_{ICMP[number]}_{name}") or 0 for name in ("ID", "TYPE", "CODE")
        )
        return identifier, kind << 8 | code, number
    if number in WITH_PORTS:
        return protocol.get_attr("CTA_PROTO_SRC_PORT"), protocol.get_attr("CTA_PROTO_DST_PORT"), number
    return 0, 0, number


def _tuple(message: Any) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], int, int, int, int, int]:
    source, destination, family = _addresses(message)
    sport, dport, number = _ports(message.get_attr("CTA_TUPLE_PROTO"))
    return np.frombuffer(source, np.uint8), np.frombuffer(destination, np.uint8), sport, dport, number, family, 0


def _entry(message: Any, now_ns: int, source: TranslationSource) -> Entry:
    key = (
        _tuple(message.get_attr("CTA_TUPLE_ORIG")),
        _tuple(message.get_attr("CTA_TUPLE_REPLY")),
        message.get_attr("CTA_ZONE") or 0,
        0,
    )
    return key, (now_ns, now_ns, 0, 0, 0, 0, source, np.zeros(3, np.uint8), 0)


@contextmanager
def _opened(family: int) -> Iterator[Any]:
    """Yield a ctnetlink socket; what goes wrong with it is a KernelError."""
    try:
        with conntrack_socket(family) as conntrack:
            yield conntrack
    except Exception as error:  # pyroute2's NetlinkError has no import that does not load all of it
        if getattr(error, "code", None) is None and not isinstance(error, OSError):
            raise
        raise KernelError(f"ctnetlink does not answer: {error}: is the module nf_conntrack_netlink there?") from error


def dump(now_ns: int, limit: int) -> npt.NDArray[np.void]:
    """Return at most ``limit`` conntrack entries of this network namespace (dtype TRANSLATIONS).

    Untranslated ones too: they tell who initiated. ``now_ns`` (CLOCK_MONOTONIC) becomes their first and last
    sight. Needs CAP_NET_ADMIN; raises KernelError where there is no ctnetlink.
    """
    entries: list[Entry] = []
    with _opened(socket.AF_UNSPEC) as conntrack:
        messages = islice(conntrack.dump(), limit)
        entries += [_entry(message, now_ns, TranslationSource.DUMP) for message in messages]
    return np.array(entries, TRANSLATIONS)


def ask(tuples: npt.NDArray[np.void], now_ns: int) -> npt.NDArray[np.void]:
    """Return the entries (dtype TRANSLATIONS) whose ORIGINAL is one of ``tuples`` (dtype TUPLE, TCP or UDP).

    Their source is ctnetlink. A tuple without an entry in zone 0 is left out. Costs some 0.3 ms a tuple. Raises
    KernelError where there is no ctnetlink.
    """
    found: list[Entry] = []
    for family, version in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
        wanted = tuples[tuples["family"] == version]
        if len(wanted):
            with _opened(family) as conntrack:
                answers = (_get(conntrack, one, family) for one in wanted)
                found += [_entry(one, now_ns, TranslationSource.CTNETLINK) for one in answers if one is not None]
    return np.array(found, TRANSLATIONS)


def _get(conntrack: Any, wanted: np.void, family: int) -> Any:
    original = conntrack_tuple(
        family=family,
        saddr=socket.inet_ntop(family, wanted["src"].tobytes()[-4 if family == socket.AF_INET else 0 :]),
        daddr=socket.inet_ntop(family, wanted["dst"].tobytes()[-4 if family == socket.AF_INET else 0 :]),
        proto=int(wanted["proto"]),
        sport=int(wanted["sport"]),
        dport=int(wanted["dport"]),
    )
    try:
        return next(iter(conntrack.entry("get", tuple_orig=original)), None)
    except Exception as error:
        if getattr(error, "code", None) == errno.ENOENT:
            return None
        raise
