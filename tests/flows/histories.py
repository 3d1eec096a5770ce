"""Histories: connections of a node with and without NAT, their packets in time, and window borders anywhere."""

from dataclasses import dataclass, field, replace
from itertools import count
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.vendor.pretty import RepresentationPrinter

from natlens.flows.join import Carry
from natlens.flows.oneway import unexplained
from natlens.kernel.structs import TUPLE, TranslationSource
from natlens.kernel.windows import Window
from tests.flows.packets import (
    ACK,
    FIN,
    ICMP,
    RST,
    SYN,
    TCP,
    UDP,
    Connection,
    Kernel,
    Packet,
    Place,
    Translation,
    Tuple,
    translation_array,
)

__all__ = ["Expected", "History", "histories"]

START_NS = 10**12
MS = 1_000_000
GAPS_NS = [20_000, MS, 5 * MS, 60 * MS, 400 * MS]
REST_NS = [60 * MS, 150 * MS, 2000 * MS]  # between two connections of one port
FORWARDING_NS = 5_000
NODE, SERVICE = "192.0.2.1", "10.96.0.1"


class Expected(NamedTuple):
    """A connection as its records must tell it."""

    original: Tuple
    translated: Tuple
    nat: int
    octets: tuple[int, int]  # forward, reverse
    packets: tuple[int, int]


@dataclass(frozen=True, repr=False)
class History:
    """What happened, as windows, and what they hold."""

    windows: list[Window]
    expected: list[Expected]
    packets: list[Packet]

    def explained(self, window: Window, carry: Carry) -> Window:
        """Return a window with what ctnetlink answers when it is asked as the pipeline does."""
        asked = unexplained(window, carry)
        known = {
            np.array(packet.connection.original.record(), TUPLE).tobytes(): packet.connection.key
            for packet in self.packets
            if packet.at <= window.end_ns
        }
        keys = (known[one.tobytes()] for one in asked if one.tobytes() in known)
        now = window.end_ns
        answers = translation_array({key: Translation(now, now, source=TranslationSource.CTNETLINK) for key in keys})
        return replace(window, translations=np.concatenate([window.translations, answers]))

    def __repr__(self) -> str:
        """Return it so that a failure can be read."""
        events: list[tuple[int, str, Packet | None]] = [(packet.at, "packet", packet) for packet in self.packets]
        events += [(window.end_ns, "border", None) for window in self.windows]
        connections = list(dict.fromkeys(packet.connection for packet in self.packets))
        lines = [f"{number}: {_text(connection)}" for number, connection in enumerate(connections)]
        for at, what, packet in sorted(events, key=lambda event: event[0]):
            said = ""
            if packet:
                way = ">" if packet.forward else "<"
                said = f"{connections.index(packet.connection)} {way} {packet.octets} {packet.flags:#x} {packet.seq}"
            lines.append(f"{(at - START_NS) / MS:10.3f} ms {what} {said}")
        return "\n".join(["History:", *lines])

    def _repr_pretty_(self, printer: RepresentationPrinter, _cycle: bool) -> None:
        printer.text(repr(self))


def _text(connection: Connection) -> str:
    original, translated = (" ".join(map(str, one)) for one in (connection.original, connection.translated))
    return f"{original} => {translated} {connection.place.name} {connection.client}:{connection.server}"


@st.composite
def _tuples(draw: st.DrawFn, number: int, proto: int, place: Place) -> tuple[Tuple, Tuple]:
    """Return ORIGINAL and the translated tuple of a connection that nothing else resembles."""
    pod, backend = f"10.244.{number}.2", f"10.244.9.{draw(st.integers(2, 4))}"
    client = NODE if place in (Place.FROM_HOST, Place.LOOPBACK) else pod
    server = NODE if place in (Place.TO_HOST, Place.LOOPBACK) else backend
    port = 40000 + number if proto != ICMP else 100 + number
    service = draw(st.sampled_from([80, 50000])), draw(st.sampled_from([8080, 80]))
    dnat, snat = draw(st.booleans()), draw(st.booleans())
    if place in (Place.TO_HOST, Place.LOOPBACK):
        snat = False
    dialled = (SERVICE, service[0]) if dnat else (server, service[1])
    seen = ("192.0.2.9", 60000 + number) if snat else (client, port)
    if proto == ICMP:
        return (
            Tuple(client, port, dialled[0], 8 << 8, proto),
            Tuple(seen[0], seen[1], server, 8 << 8, proto),
        )
    return Tuple(client, port, *dialled, proto), Tuple(*seen, server, service[1], proto)


@dataclass
class _Script:
    """The packets of one connection, as they are drawn."""

    draw: st.DrawFn
    connection: Connection
    at: int
    packets: list[Packet] = field(default_factory=list)

    def add(self, forward: bool, flags: int = 0, seq: int = 0) -> None:
        octets = self.draw(st.integers(40, 1500))
        self.packets.append(Packet(self.at, self.connection, forward, octets, flags, seq))
        self.at += self.draw(st.sampled_from(GAPS_NS))

    def tcp(self, isn: int, *, answered: bool) -> None:
        end = self.draw(st.sampled_from(["fin", "rst", "open", *([] if answered else ["refused", "lost"])]))
        for _ in range(2 if self.draw(st.booleans()) else 1):
            self.add(True, SYN, isn)  # again, if nothing came back
        if end == "refused":
            self.add(False, RST | ACK)
        if end in ("refused", "lost"):
            return
        self.add(False, SYN | ACK, isn ^ 0x5555)
        self.add(True, ACK)
        for forward in self.draw(st.lists(st.booleans(), max_size=6)):
            self.add(forward, ACK)
        first = self.draw(st.booleans())
        if end == "fin":
            self.add(first, FIN | ACK)
            self.add(not first, FIN | ACK)
            self.add(first, ACK)
        elif end == "rst":
            self.add(first, RST)

    def udp(self) -> None:
        for forward in [True, *self.draw(st.lists(st.booleans(), max_size=6))]:
            self.add(forward)

    def icmp(self) -> None:
        # nothing tells what an echo request to the node itself was translated to, if that does not answer
        answers = self.connection.place == Place.TO_HOST
        for answered in self.draw(st.lists(st.booleans(), min_size=1, max_size=4)):
            self.add(True)
            if answered or answers:
                self.add(False)


@st.composite
def _script(draw: st.DrawFn, connection: Connection, start: int, isn: int, *, answered: bool = False) -> list[Packet]:
    """Return the packets of one connection; ``answered``: a TCP one gets its SYN+ACK."""
    script = _Script(draw, connection, start)
    match connection.original.proto:
        case 6:
            script.tcp(isn, answered=answered)
        case 17:
            script.udp()
        case _:
            script.icmp()
    return script.packets


@st.composite
def _again(draw: st.DrawFn, connection: Connection) -> Connection:
    """Return a later connection of the same client port."""
    if connection.original.proto != TCP or connection.original.dst != SERVICE:
        return connection
    kind = draw(st.sampled_from(["same", "other backend", "direct"]))
    if kind == "same" or connection.place in (Place.TO_HOST, Place.LOOPBACK):
        return connection
    if kind == "other backend":
        return replace(connection, translated=connection.translated._replace(dst="10.244.9.77"), server=13)
    direct = connection.original._replace(dst=connection.translated.dst, dport=connection.translated.dport)
    return replace(connection, original=direct, translated=direct)


@st.composite
def _slot(draw: st.DrawFn, number: int, isns: "count[int]") -> list[list[Packet]]:
    """Return one client port's connections, one after the other."""
    proto = draw(st.sampled_from([TCP, TCP, UDP, ICMP]))
    place = draw(st.sampled_from([Place.FORWARD, Place.FORWARD, *Place]))
    original, translated = draw(_tuples(number, proto, place))
    client = 1 if place == Place.LOOPBACK else 20 + number
    server = 1 if place == Place.LOOPBACK else 12
    connection = Connection(original, translated, place, client, server)
    at = START_NS + draw(st.integers(0, 2000)) * MS
    scripts = [draw(_script(connection, at, next(isns)))]
    for _ in range(draw(st.integers(0, 2)) if proto == TCP else 0):
        connection = draw(_again(connection))
        at = scripts[-1][-1].at + draw(st.sampled_from(REST_NS))
        # an RST in place of a SYN+ACK would be taken for the last connection's: counted as ambiguous
        scripts.append(draw(_script(connection, at, next(isns), answered=True)))
    return scripts


@st.composite
def _beside(draw: st.DrawFn, script: list[Packet], isn: int) -> list[Packet]:
    """Return a connection that lives at the same time as this one and resembles it, but can be told from it."""
    one = script[0].connection
    at = script[0].at + draw(st.sampled_from(GAPS_NS))
    other = replace(one, zone=5, client=one.client + 100, server=one.server + 100)  # the same in another zone
    if one.original.dst == SERVICE and one.original.proto != ICMP and draw(st.booleans()):
        # the pod behind the Service itself: conntrack gives it another source port
        direct = one.original._replace(dst=one.translated.dst, dport=one.translated.dport)
        other = replace(one, original=direct, translated=direct._replace(sport=61000))
    return draw(_script(other, at, isn, answered=True))


@st.composite
def _clash(draw: st.DrawFn, script: list[Packet], isn: int) -> list[Packet]:
    """Return a connection with the same ORIGINAL and another backend: a lost race, or an entry reborn."""
    one = script[0].connection
    other = replace(one, translated=one.translated._replace(dst="10.244.9.78"), server=14)
    starts = [script[-1].at + MS]
    if one.original.proto != TCP:  # a TCP port has one connection at a time
        starts.append(script[0].at + MS)
    return draw(_script(other, draw(st.sampled_from(starts)), isn))


def _apart(scripts: list[list[Packet]]) -> list[list[Packet]]:
    """Let no two packets come at one instant: a border may fall between any two."""
    offset = count(0, 2)
    return [[packet._replace(at=packet.at + next(offset)) for packet in script] for script in scripts]


def _expected(packets: list[Packet]) -> Expected:
    connection = packets[0].connection
    both = [[packet for packet in packets if packet.forward == forward] for forward in (True, False)]
    octets = [sum(packet.octets for packet in way) for way in both]
    return Expected(
        connection.original,
        connection.translated,
        connection.nat,
        (octets[0], octets[1]),
        (len(both[0]), len(both[1])),
    )


@st.composite
def _windows(draw: st.DrawFn, packets: list[Packet], *, forgetful: bool) -> list[Window]:
    """Fold packets into windows; the last one is closed long after everything."""
    steps = sorted(
        [(packet.at, number, 0, packet) for number, packet in enumerate(packets)]
        + [(packet.at + FORWARDING_NS, number, 1, packet) for number, packet in enumerate(packets)]
    )
    borders = set(draw(st.lists(st.integers(1, len(steps)), max_size=5)))
    kernel = Kernel(START_NS - MS, lookups=not forgetful or draw(st.booleans()))
    windows = []
    # twins in two zones are told apart only by what is learned when they leave
    twins = any(packet.connection.zone for packet in packets) and not forgetful
    for index, (at, _, leaving, packet) in enumerate(steps):
        inside = index - 2 * sum(one[2] for one in steps[:index])  # packets that have arrived and not left
        if index in borders and not (twins and inside):
            windows.append(kernel.border(at - 1, forget=forgetful and draw(st.booleans())))
        (kernel.leaves if leaving else kernel.arrives)(packet)
    windows.append(kernel.border(steps[-1][0] + 1, forget=forgetful and draw(st.booleans())))
    return windows


@st.composite
def _scripts(draw: st.DrawFn, *, ambiguous: bool) -> list[list[Packet]]:
    isns = count(draw(st.integers(1, 2**31)))
    scripts: list[list[Packet]] = []
    for number in range(draw(st.integers(1, 4))):
        scripts += draw(_slot(number, isns))
        first = scripts[-1]
        nat, forwarded = first[0].connection.nat, first[0].connection.place == Place.FORWARD
        if nat and forwarded and draw(st.booleans()):
            scripts.append(draw(_beside(first, next(isns))))
        if ambiguous and nat and draw(st.booleans()):
            scripts.append(draw(_clash(first, next(isns))))
    return _apart(scripts)


@st.composite
def histories(draw: st.DrawFn, *, ambiguous: bool = False) -> History:
    """Return a history in which every connection can be told from every other.

    ``ambiguous``: not that; ORIGINAL tuples clash, translations are lost, the kernel may have no look-ups.
    """
    scripts = draw(_scripts(ambiguous=ambiguous))
    packets = sorted((packet for script in scripts for packet in script), key=lambda packet: packet.at)
    windows = draw(_windows(packets, forgetful=ambiguous))
    return History(windows, [_expected(script) for script in scripts], packets)
