"""Packets to try a parser with: templates by scapy, mutations by a seeded generator."""

from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import product
from random import Random
from struct import Struct
from typing import Any

__all__ = ["IP4", "IP6", "MAX_FRAME", "Packet", "makes_skb", "mutate", "network_templates", "s", "sk_buff", "templates"]

s: Any = import_module("scapy.all")  # it fills itself at run time: a type checker sees nothing
Packet = Any

IP4, IP6 = 0x0800, 0x86DD
MAX_FRAME = 3520  # BPF_PROG_TEST_RUN: one page less head- and tailroom
LINK = 14
MACS = {"dst": "02:00:00:00:00:01", "src": "02:00:00:00:00:02"}
LEAST = {IP4: LINK + 20, IP6: LINK + 40}  # BPF_PROG_TEST_RUN refuses shorter ones
ETHERTYPES = (IP4, IP6, 0x8100, 0x88A8, 0x9100, 0x0806, 0x8847, 0x0010, 0x05DC, 0x88CC)
SK_BUFF = Struct("=36xII120xI8xI12x")  # ingress_ifindex, ifindex, gso_segs, gso_size of struct __sk_buff
LENGTHS = (0, 1, 19, 20, 39, 40, 41, 60, 255, 1500, 0x7FFF, 0xFFFF)


def sk_buff(ingress_ifindex: int, gso_size: int = 0, gso_segs: int = 0) -> bytes:
    """Return a context for BPF_PROG_TEST_RUN, on lo."""
    return SK_BUFF.pack(ingress_ifindex, 1, gso_segs, gso_size)


def makes_skb(frame: bytes, protocol: int) -> bool:
    """Tell whether BPF_PROG_TEST_RUN takes a frame whose octets 12 and 13 are ``protocol``."""
    return max(LEAST.get(protocol, 0), LINK) <= len(frame) <= MAX_FRAME


def _uppers(six: bool) -> Iterator[Packet]:
    for flags in ("S", "SA", "A", "PA", "FA", "R", "RA", "SEC", "", "FSRPAUEC"):
        yield s.TCP(sport=40000, dport=80, flags=flags, seq=7) / s.Raw(b"tcp")
    yield s.TCP(sport=1, dport=65535, options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 2))]) / s.Raw(
        b"x" * 99
    )
    yield s.UDP(sport=53, dport=5353) / s.Raw(b"udp")
    yield s.UDP(sport=5, dport=4789) / s.VXLAN(vni=1) / s.Ether(**MACS) / s.IP() / s.TCP()
    yield s.SCTP(sport=9, dport=36412) / s.SCTPChunkInit()
    yield s.GRE() / s.IP(src="10.0.0.1", dst="10.0.0.2") / s.UDP()
    yield s.ESP(spi=1, seq=1, data=b"e" * 32)
    yield s.Raw(b"other")
    if not six:
        yield from (s.ICMP(type=kind, id=77) / s.Raw(b"ping-pong") for kind in (0, 8, 13, 14, 15, 17))
        yield s.ICMP(type=3, code=4) / s.IP(src="10.1.1.1", dst="10.2.2.2") / s.UDP(sport=1, dport=2)
        yield s.ICMP(type=11) / s.IP() / s.TCP()
        yield s.IPv6(src="fd00::9") / s.TCP()
    else:
        yield s.ICMPv6EchoRequest(id=78, data=b"ping")
        yield s.ICMPv6EchoReply(id=78, data=b"pong")
        yield s.ICMPv6ND_NS(tgt="fe80::1")
        yield s.ICMPv6PacketTooBig() / s.IPv6() / s.UDP()
        yield s.ICMPv6DestUnreach() / s.IPv6() / s.TCP()
        yield s.IP(src="10.3.3.3") / s.TCP()


def _ip4(src: str) -> Iterator[Packet]:
    bare = s.IP(src=src, dst="10.244.1.2")
    options: tuple[list[Packet], ...] = (
        [],
        [s.IPOption_NOP(), s.IPOption_EOL()],
        [s.IPOption_RR(routers=["192.0.2.9"] * 4)],
        [s.IPOption(b"\x94\x04\x00\x00")],
        [s.IPOption_NOP()] * 40,
    )
    for upper, option in product(_uppers(six=False), options):
        packet = bare.copy()
        packet.options = option
        yield packet / upper
    for number, (size, upper) in enumerate(product((8, 24, 256), (s.UDP(sport=7, dport=8), s.TCP(), s.ICMP(id=3)))):
        whole = s.IP(src=src, dst="10.244.1.3", id=1000 + number) / upper / s.Raw(b"f" * 600)
        yield from s.fragment(whole, fragsize=size)[:6]


def _chains() -> Iterator[list[Callable[[], Packet]]]:
    hop = s.IPv6ExtHdrHopByHop
    routing = lambda: s.IPv6ExtHdrRouting(addresses=["fd00::7"])  # noqa: E731
    option = lambda: s.IPv6ExtHdrDestOpt(options=[s.PadN(optdata=b"p" * 9)])  # noqa: E731
    security = lambda: s.AH(payloadlen=4, spi=1, seq=2, icv=b"i" * 12)  # noqa: E731
    atomic = lambda: s.IPv6ExtHdrFragment(id=5)  # noqa: E731
    yield from ([], [hop], [option], [routing], [security], [atomic], [hop, option, routing, security], [hop, security])
    yield from ([option] * depth for depth in range(5, 11))
    yield [hop, routing, atomic, option, security]


def _ip6(src: str) -> Iterator[Packet]:
    bare = s.IPv6(src=src, dst="fd00:244:1::2")
    for upper, chain in product(_uppers(six=True), _chains()):
        packet = bare.copy()
        for header in chain:
            packet = packet / header()
        if packet.haslayer(s.AH):  # scapy does not fill it in
            packet[s.AH].nh = (s.IPv6() / upper).nh
        yield packet / upper
    for number, upper in enumerate((s.UDP(sport=7, dport=8), s.TCP(sport=7), s.ICMPv6EchoRequest(id=3))):
        for front in ([], [s.IPv6ExtHdrDestOpt()]):
            whole = s.IPv6(src=src, dst="fd00:244:1::3") / s.IPv6ExtHdrFragment(id=2000 + number)
            for header in front:
                whole = whole / header
            yield from s.fragment6(whole / upper / s.Raw(b"f" * 3000), 1280)
            yield whole / upper  # atomic
    yield bare / s.IPv6ExtHdrFragment(id=9, m=1) / s.IPv6ExtHdrFragment(id=10, m=1) / s.UDP()
    yield bare / s.IPv6ExtHdrFragment(id=9, m=1) / s.IPv6ExtHdrFragment(id=10, offset=7) / s.Raw(b"inner")
    yield bare / s.Raw(b"")


def network_templates(src4: str = "192.0.2.7", src6: str = "fd00:244:7::2") -> list[bytes]:
    """Return packets without a link layer."""
    return [bytes(packet) for packet in (*_ip4(src4), *_ip6(src6))]


def tag(frame: bytes, *kinds: int) -> bytes:
    """Return a frame with VLAN tags of these kinds, outermost first."""
    return frame[:12] + b"".join(kind.to_bytes(2, "big") + bytes([0, 9]) for kind in kinds) + frame[12:]


def templates() -> list[bytes]:
    """Return Ethernet frames, tagged and not, and some that are not IP."""
    link = bytes(s.Ether(**MACS, type=0))[:12]
    frames = []
    for number, packet in enumerate(network_templates()):
        frame = link + (IP4 if packet[0] >> 4 == 4 else IP6).to_bytes(2, "big") + packet
        frames.append(frame)
        depth = number % 16
        if 1 <= depth <= 4:
            frames.append(tag(frame, *([0x88A8] * (depth > 1) + [0x8100] * depth)[:depth]))
    frames += [
        bytes(s.Ether(**MACS) / s.ARP()) + bytes(18),
        bytes(s.Dot3(**MACS) / s.LLC() / s.SNAP() / s.Raw(b"802.3" * 9)),
        bytes(s.Ether(**MACS, type=0x88CC) / s.Raw(b"lldp" * 12)),
        bytes(s.Ether(**MACS) / s.IP(src="192.0.2.8") / s.UDP() / s.Raw(bytes(MAX_FRAME - 42))),
    ]
    return [frame for frame in frames if len(frame) <= MAX_FRAME]


def _flip(rng: Random, frame: bytearray, _network: int) -> None:
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(frame) * 8)
        frame[at >> 3] ^= 1 << (at & 7)


def _overwrite(rng: Random, frame: bytearray, _network: int) -> None:
    at = rng.randrange(len(frame))
    size = min(rng.randint(1, 4), len(frame) - at)
    frame[at : at + size] = rng.randbytes(size)


def _truncate(rng: Random, frame: bytearray, _network: int) -> None:
    del frame[rng.randrange(len(frame)) :]


def _pad(rng: Random, frame: bytearray, _network: int) -> None:
    frame += rng.randbytes(rng.randint(1, 60))


def _length(rng: Random, frame: bytearray, network: int) -> None:
    """Change what the packet says of its length, by little or to anything."""
    at = network + (2 if frame[network] >> 4 == 4 else 4)
    said = int.from_bytes(frame[at : at + 2], "big")
    new = rng.choice((said + rng.randint(-9, 9), rng.choice(LENGTHS))) & 0xFFFF
    frame[at : at + 2] = new.to_bytes(2, "big")


def _header_length(rng: Random, frame: bytearray, network: int) -> None:
    frame[network] = rng.choice((frame[network] & 0xF0 | rng.randrange(16), rng.randrange(256)))


def _next_header(rng: Random, frame: bytearray, network: int) -> None:
    at = network + (9 if frame[network] >> 4 == 4 else 6)
    frame[at : at + 1] = rng.choice((0, 1, 6, 17, 43, 44, 47, 50, 51, 58, 59, 60, 132, 135, 255)).to_bytes(1, "big")


def _fragment(rng: Random, frame: bytearray, network: int) -> None:
    if frame[network] >> 4 == 4:
        frame[network + 6 : network + 8] = rng.choice((0x2000, 0x4000, 0x2001, 0x0001, 0x1FFF, 0x8000)).to_bytes(
            2, "big"
        )


def _link(rng: Random, frame: bytearray, _network: int) -> None:
    frame[12:14] = rng.choice(ETHERTYPES).to_bytes(2, "big")


def _tags(rng: Random, frame: bytearray, _network: int) -> None:
    frame[:] = tag(bytes(frame), *(rng.choice((0x8100, 0x88A8)) for _ in range(rng.randint(1, 4))))


MUTATIONS = 3 * [_flip, _overwrite, _truncate, _length] + [_pad, _header_length, _next_header, _fragment, _link, _tags]


def mutate(rng: Random, template: bytes, other: bytes, network: int) -> bytes:
    """Return a frame made of ``template``, whose IP header is at ``network``; ``other`` may lend its tail."""
    if rng.random() < 0.1:
        return template
    frame = bytearray(template)
    if rng.random() < 0.05:
        at = rng.randrange(LINK, min(len(frame), len(other)))
        frame[at:] = other[at:]
    for _ in range(rng.randint(1, 3)):
        if len(frame) <= network + 8:
            break
        rng.choice(MUTATIONS)(rng, frame, network)
    return bytes(frame)
