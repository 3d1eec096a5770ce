"""The reference itself: scapy reads the unmutated templates the same way."""

from tests.kernel.packets import Packet, s, templates
from tests.kernel.reference import SIZES, Sighting, Unparsed, dissect

EXTENSIONS = (
    s.IPv6ExtHdrHopByHop,
    s.IPv6ExtHdrDestOpt,
    s.IPv6ExtHdrRouting,
    s.IPv6ExtHdrFragment,
    s.AH,
)


def _below(frame: bytes) -> Packet:
    """Return what scapy finds behind Ethernet and tags."""
    layer = s.Ether(frame)
    while isinstance(layer, (s.Ether, s.Dot1Q, s.Dot1AD)):
        layer = layer.payload
    return layer


def _expected(ip: Packet) -> Sighting:
    if isinstance(ip, s.IP):
        sighting = Sighting(_mapped(ip.src), _mapped(ip.dst), 4, ip.proto, octets=ip.len)
        sighting.later = ip.frag > 0
        upper = ip.payload
    else:
        sighting = Sighting(s.inet_pton(s.socket.AF_INET6, ip.src), s.inet_pton(s.socket.AF_INET6, ip.dst), 6)
        sighting.octets, sighting.protocol, upper = 40 + ip.plen, ip.nh, ip.payload
        while isinstance(upper, EXTENSIONS) and not sighting.later:
            sighting.protocol = upper.nh
            sighting.later = isinstance(upper, s.IPv6ExtHdrFragment) and upper.offset > 0
            upper = upper.payload
    if not sighting.later:
        _add_upper(sighting, bytes(upper))
    return sighting


def _mapped(text: str) -> bytes:
    return bytes(10) + b"\xff\xff" + bytes(s.inet_aton(text))


def _add_upper(sighting: Sighting, upper: bytes) -> None:
    match sighting.protocol:
        case 6:
            tcp = s.TCP(upper)
            sighting.sport, sighting.dport, sighting.flags, sighting.sequence = (
                tcp.sport,
                tcp.dport,
                int(tcp.flags),
                tcp.seq,
            )
        case 17:
            udp = s.UDP(upper)
            sighting.sport, sighting.dport = udp.sport, udp.dport
        case 132:
            sctp = s.SCTP(upper)
            sighting.sport, sighting.dport = sctp.sport, sctp.dport
        case 1:
            icmp = s.ICMP(upper)
            sighting.dport = icmp.type << 8 | icmp.code
            sighting.sport = icmp.id if icmp.type in (0, 8, 13, 14, 15, 16, 17, 18) else 0
        case 58:
            echo = s.ICMPv6EchoRequest(upper)
            sighting.dport = echo.type << 8 | echo.code
            sighting.sport = echo.id if echo.type in (128, 129) else 0


def test_scapy_reads_the_templates_as_the_reference_does() -> None:
    compared = 0
    for frame in templates():
        ip = _below(frame)
        if not isinstance(ip, (s.IP, s.IPv6)):
            assert dissect(frame, int.from_bytes(frame[12:14], "big"), 14) is None
            continue
        try:
            found = dissect(frame, int.from_bytes(frame[12:14], "big"), 14)
        except Unparsed as why:
            assert str(why) == _reason(frame, ip)  # noqa: PT017
            continue
        assert found is not None
        found.fragment = b""
        assert found == _expected(ip), ip.summary()
        compared += 1
    assert compared > 300


def _reason(frame: bytes, ip: Packet) -> str:
    """Return why a packet cannot be parsed, as scapy sees it."""
    extensions = [layer for layer in ip.iterpayloads() if isinstance(layer, EXTENSIONS)]
    if sum(isinstance(layer, s.Dot1Q) for layer in s.Ether(frame).iterpayloads()) > 3:
        return "unparsed_vlan"
    if len(extensions) > 8:
        return "unparsed_extensions"
    last = extensions[-1] if extensions and ip.version == 6 else ip
    protocol = last.proto if isinstance(last, s.IP) else last.nh
    return "unparsed_truncated" if len(bytes(last.payload)) < SIZES[protocol] else "parsed"
