"""Connections and their packets, and the windows that the kernel makes of them."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from ipaddress import ip_address
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from natlens.kernel.structs import ConntrackWord, Side, Syn, TranslationSource
from natlens.kernel.windows import ROWS, TRANSLATIONS, Window

__all__ = ["ICMP", "TCP", "UDP", "Connection", "Kernel", "Packet", "Place", "Translation", "Tuple", "translation_array"]

ICMP, TCP, UDP = 1, 6, 17
FIN, SYN, RST, ACK = 1, 2, 4, 16
ECHO_REQUEST, ECHO_REPLY = 8 << 8, 0
LO = 1
TICK_NS = 4_000_000  # of the coarse clock
FORWARDING_NS = 5_000  # between a packet's arrival and its leaving
UNIX_OFFSET_NS = 1_700_000_000_000_000_000


class Tuple(NamedTuple):
    """A directed tuple, readable."""

    src: str
    sport: int
    dst: str
    dport: int
    proto: int

    def turned(self) -> "Tuple":
        """Return the tuple of the answers."""
        if self.proto == ICMP:
            return Tuple(self.dst, self.sport, self.src, ECHO_REPLY if self.dport else ECHO_REQUEST, self.proto)
        return Tuple(self.dst, self.dport, self.src, self.sport, self.proto)

    def record(self) -> tuple[object, ...]:
        """Return it as ``struct tuple``."""
        src, dst = ip_address(self.src), ip_address(self.dst)
        mapped = bytes(10) + b"\xff\xff" if src.version == 4 else b""
        packed = (np.frombuffer(mapped + end.packed, np.uint8) for end in (src, dst))
        return *packed, self.sport, self.dport, self.proto, src.version, 0


class Place(Enum):
    """Where the ends of a connection are."""

    FORWARD = "pod to pod"
    FROM_HOST = "host to pod"
    TO_HOST = "pod to host"
    LOOPBACK = "host to host"


@dataclass(frozen=True)
class Connection:
    """A conntrack entry."""

    original: Tuple
    translated: Tuple  # what the responder sees
    place: Place = Place.FORWARD
    client: int = 11  # interface of the initiator
    server: int = 12  # of the responder
    zone: int = 0

    @property
    def key(self) -> "TranslationKey":
        """Return what conntrack knows it by: ORIGINAL, REPLY, zone."""
        return self.original, self.translated.turned(), self.zone

    @property
    def nat(self) -> int:
        """Return flows.connection.Nat bits."""
        ports = self.original.proto != ICMP
        there, here = self.original, self.translated
        dnat = there.dst != here.dst or (ports and there.dport != here.dport)
        return dnat | ((there.src, there.sport) != (here.src, here.sport)) << 1


class Packet(NamedTuple):
    """One packet of a connection."""

    at: int  # ns
    connection: Connection
    forward: bool
    octets: int
    flags: int = 0
    seq: int = 0


@dataclass
class Row:
    """``struct row``."""

    first_ns: int
    last_ns: int
    octets: int = 0
    packets: int = 0
    tcp_flags: int = 0
    syn: int = 0
    syn_seq: int = 0
    conntrack: int = ConntrackWord.UNASKED
    zone: int = 0


@dataclass
class Translation:
    """``struct translation``."""

    first_ns: int
    last_ns: int
    forward_octets: int = 0
    forward_packets: int = 0
    forward_ifindex: int = 0
    reply_ifindex: int = 0
    source: int = TranslationSource.TC


ROW_FIELDS = [one.name for one in fields(Row)]
TRANSLATION_FIELDS = [one.name for one in fields(Translation)]
RowKey = tuple[int, Side, Tuple]
TranslationKey = tuple[Tuple, Tuple, int]


@dataclass
class Kernel:
    """Counts and learns as the programs in bpf/ do; :meth:`border` closes a window."""

    start: int
    lookups: bool = True  # bpf_skb_ct_lookup is there
    rows: dict[RowKey, list[Row]] = field(default_factory=lambda: defaultdict(list))
    translations: dict[TranslationKey, Translation] = field(default_factory=dict)
    entries: dict[Tuple, Packet] = field(default_factory=dict)  # of zone 0: tuple → a packet of that direction

    def arrives(self, packet: Packet) -> None:
        """Count a packet at the interface where it comes in, if it does."""
        connection, place = packet.connection, packet.connection.place
        if packet.forward and place in (Place.FORWARD, Place.TO_HOST):
            known, row = self._count(packet, connection.client, Side.INGRESS, connection.original)
        elif not packet.forward and place in (Place.FORWARD, Place.FROM_HOST):
            known, row = self._count(packet, connection.server, Side.INGRESS, connection.translated.turned())
        else:
            return
        if known and row.conntrack == ConntrackWord.UNASKED and connection.original.proto in (TCP, UDP):
            self._look_up(packet, row)

    def _look_up(self, packet: Packet, row: Row) -> None:
        """Ask conntrack by a packet's tuple, in zone 0: no other zone is known before netfilter has run."""
        connection = packet.connection
        wire = connection.original if packet.forward else connection.translated.turned()
        found = self.entries.get(wire) if self.lookups else None
        row.conntrack = ConntrackWord.UNKNOWN
        if found:
            self._tell(row, found)
            if found.connection.nat:
                self._learn(found._replace(at=packet.at), leaving=False)

    def leaves(self, packet: Packet) -> None:
        """Count a packet that the host sends, learn from one that leaves."""
        connection, place = packet.connection, packet.connection.place
        if not connection.zone and packet.forward:
            self.entries[connection.original] = packet
            self.entries[connection.translated.turned()] = packet._replace(forward=False)
        host_sends = place == Place.LOOPBACK or place == (Place.FROM_HOST if packet.forward else Place.TO_HOST)
        if not host_sends and place != Place.FORWARD:
            return
        if host_sends:
            out = connection.server if packet.forward else connection.client
            wire = connection.original.turned()
            if packet.forward:
                wire = connection.translated
            elif place == Place.LOOPBACK:
                out, wire = LO, connection.translated.turned()
            self._tell(self._count(packet, LO if place == Place.LOOPBACK else out, Side.EGRESS, wire)[1], packet)
        if connection.nat or connection.original.proto != TCP:
            self._learn(packet, leaving=True)
        elif place == Place.FORWARD and packet.flags & SYN:
            self._tell_forwarded(packet)

    def _tell_forwarded(self, packet: Packet) -> None:
        connection = packet.connection
        came_in = (connection.client, connection.original)
        if not packet.forward:
            came_in = (connection.server, connection.original.turned())
        generations = self.rows.get((came_in[0], Side.INGRESS, came_in[1]))
        if generations:
            self._tell(generations[-1], packet)

    def _count(self, packet: Packet, ifindex: int, side: Side, wire: Tuple) -> tuple[bool, Row]:
        generations = self.rows[ifindex, side, wire]
        known = bool(generations)
        precise = packet.flags & (SYN | FIN | RST)
        syn = bool(packet.flags & SYN)
        new = syn and known and not (generations[-1].syn and generations[-1].syn_seq == packet.seq)
        if not known or new:
            generations.append(Row(packet.at, packet.at))
            if packet.flags & SYN:
                generations[-1].syn = Syn.SEEN | Syn.FIRST | (Syn.ACKED if packet.flags & ACK else 0)
                generations[-1].syn_seq = packet.seq
        row = generations[-1]
        row.last_ns = max(row.last_ns, packet.at if precise else packet.at - packet.at % TICK_NS)
        row.octets, row.packets = row.octets + packet.octets, row.packets + 1
        row.tcp_flags |= packet.flags
        return known and not new, row

    @staticmethod
    def _tell(row: Row, packet: Packet) -> None:
        row.conntrack = ConntrackWord.ORIGINAL if packet.forward else ConntrackWord.REPLY
        row.zone = packet.connection.zone

    def _learn(self, packet: Packet, *, leaving: bool) -> None:
        connection, place = packet.connection, packet.connection.place
        known = self.translations.get(connection.key)
        if not known:
            known = self.translations[connection.key] = Translation(packet.at, packet.at)
            known.source = TranslationSource.TC if leaving else TranslationSource.LOOKUP
        known.last_ns = max(known.last_ns, packet.at - packet.at % TICK_NS)
        if not leaving:
            return
        if packet.forward:
            known.forward_ifindex = connection.client if place in (Place.FORWARD, Place.TO_HOST) else 0
            known.forward_octets += packet.octets
            known.forward_packets += 1
        else:
            known.reply_ifindex = connection.server if place in (Place.FORWARD, Place.FROM_HOST) else 0

    def border(self, at: int, *, forget: bool = False) -> Window:
        """Close the window; ``forget``: its translations are lost."""
        window = Window(
            rows=self._row_array(),
            translations=translation_array({} if forget else self.translations),
            start_ns=self.start,
            end_ns=at,
            unix_offset_ns=UNIX_OFFSET_NS,
        )
        self.start = at
        self.rows.clear()
        self.translations.clear()
        return window

    def _row_array(self) -> npt.NDArray[np.void]:
        flat = [(key, row) for key, generations in self.rows.items() for row in generations]
        out = np.zeros(len(flat), ROWS)
        for at, ((ifindex, side, wire), row) in enumerate(flat):
            out["key"]["tuple"][at] = wire.record()
            out["key"]["ifindex"][at], out["key"]["side"][at] = ifindex, side
            for name in ROW_FIELDS:
                out["value"][name][at] = getattr(row, name)
        return out


def translation_array(translations: Mapping[TranslationKey, Translation]) -> npt.NDArray[np.void]:
    """Return translations as a window has them."""
    out = np.zeros(len(translations), TRANSLATIONS)
    for at, ((original, reply, zone), translation) in enumerate(translations.items()):
        out["key"]["original"][at], out["key"]["reply"][at] = original.record(), reply.record()
        out["key"]["zone"][at] = zone
        for name in TRANSLATION_FIELDS:
            out["value"][name][at] = getattr(translation, name)
    return out
