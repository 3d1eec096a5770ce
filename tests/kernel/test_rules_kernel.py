"""The kernel's tables against a plain reading of the rules, over random rules and packets (BPF_PROG_TEST_RUN).

Without conntrack the kernel knows a packet's own tuple, and of a SYN that it is ORIGINAL. The reference says of each
rule yes, no, or that it takes more to know; the first one that is not a no decides.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from random import Random
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from natlens.config import Options
from natlens.errors import ConfigError
from natlens.flows.sampling import is_sampled
from natlens.flows.selection import Selection
from natlens.flows.tuples import pack_address
from natlens.kernel import libbpf
from natlens.kernel.controls import Controls, prepare
from natlens.kernel.programs import OBJECT
from natlens.kernel.rules import End, Rule, parse_rules
from natlens.kernel.structs import ROW_KEY, Cause, Side
from natlens.kernel.windows import Windows
from tests.kernel.packets import s, sk_buff

LO = 1
Address = IPv4Address | IPv6Address
V4 = ["10.0.0.1", "10.0.0.130", "10.1.2.3", "10.96.0.10", "192.168.7.7", "172.16.0.1"]
V6 = ["fd00::1", "fd00::1:2", "fd00:96::a", "2001:db8::1"]
CIDRS = ["10.0.0.0/8", "10.0.0.0/25", "10.0.0.128/25", "10.96.0.0/12", "10.0.0.1/32", "0.0.0.0/0", "192.168.0.0/16"]
CIDRS6 = ["fd00::/8", "fd00::/112", "fd00:96::/64", "::/0", "2001:db8::1/128"]
PORT = [53, 80, 443, 8080, 30000, 65535, 1]


class Packet(NamedTuple):
    src: Address
    dst: Address
    sport: int
    dport: int
    proto: int
    flags: str
    side: Side

    @property
    def frame(self) -> bytes:
        ends = {"src": str(self.src), "dst": str(self.dst)}
        network = s.IP(**ends) if self.src.version == 4 else s.IPv6(**ends)
        ports = {"sport": self.sport, "dport": self.dport}
        upper = {
            6: lambda: s.TCP(**ports, flags=self.flags),
            17: lambda: s.UDP(**ports),
            132: lambda: s.SCTP(**ports) / s.SCTPChunkInit(),
            1: lambda: s.ICMP(id=self.sport),
            47: s.GRE,
        }[self.proto]()
        link = s.Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
        return bytes(link / network / upper / s.Raw(b"natlens"))

    @property
    def key(self) -> npt.NDArray[np.void]:
        """Its row's key, shape (1,)."""
        key = np.zeros(1, ROW_KEY)
        key["ifindex"], key["side"] = LO, self.side
        for name in ("sport", "dport", "proto"):
            key["tuple"][name] = getattr(self, name)
        key["tuple"]["src"], key["tuple"]["dst"] = (
            np.frombuffer(pack_address(str(end)), np.uint8) for end in (self.src, self.dst)
        )
        key["tuple"]["family"] = self.src.version
        return key

    @property
    def known(self) -> bool:
        """Whether its tuple is known to be ORIGINAL."""
        return self.proto == 6 and self.flags == "S" and self.side == Side.INGRESS


def at_lo(texts: list[str]) -> int:
    return sum(1 << number for number, rule in enumerate(parse_rules(texts)) if rule.is_at("lo"))


def random_packet(random: Random) -> Packet:
    addresses = random.choice([V4, V4, V6])
    src, dst = (ip_address(random.choice(addresses)) for _ in range(2))
    proto = random.choice([6, 6, 17, 17, 132, 47, *([1] if addresses is V4 else [])])
    flags = random.choice(["S", "SA", "A", "PA", "R"])
    return Packet(src, dst, random.choice(PORT), random.choice(PORT), proto, flags, random.choice(list(Side)))


def random_rule(random: Random) -> str:
    words = [random.choice(["accept", "reject", "reject"])]
    cidrs = random.choice([CIDRS, CIDRS, CIDRS6])
    for end in ("", "source.", "destination.", "responder."):
        if random.random() < (0.35 if not end else 0.2):
            words.append(f"{end}cidr={random.choice(cidrs)}")
        if random.random() < (0.35 if not end else 0.15):
            first = random.choice(PORT)
            words.append(f"{end}port={first}" + random.choice(["", f"-{min(first + random.choice([1, 999]), 65535)}"]))
    if random.random() < 0.4:
        words.append(f"protocol={random.choice(['tcp', 'udp', 'sctp', '47', 'icmp'])}")
    if random.random() < 0.2:
        words.append(f"direction={random.choice(['ingress', 'egress'])}")
    if random.random() < 0.2:
        words.append(f"interface={random.choice(['lo', 'l?', 'eth*'])}")
    return " ".join(words)


def random_rules(random: Random, count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        text = random_rule(random)
        try:
            parse_rules([text])
        except ConfigError:  # a port with ICMP
            continue
        found.append(text)
    return found


def inside(address: Address, end: End) -> bool:
    return end.network is None or address in ip_network(str(end.network))


def between(port: int, end: End) -> bool:
    return end.ports[0] <= port <= end.ports[1]


def answer(rule: Rule, packet: Packet) -> bool | None:
    """Tell whether the rule holds; None: whoever sees this packet alone cannot know."""
    if rule.protocol not in (None, packet.proto) or rule.side not in (None, packet.side):
        return False
    if rule.family not in (None, packet.src.version) or not rule.is_at("lo"):
        return False
    if rule.asks_for_port and packet.proto not in (6, 17, 132):
        return False
    unsure = False
    anywhere = rule.ends["any"]
    if not (inside(packet.src, anywhere) or inside(packet.dst, anywhere)) or not (
        between(packet.sport, anywhere) or between(packet.dport, anywhere)
    ):
        unsure = True
    for name, address, port in (("source", packet.src, packet.sport), ("destination", packet.dst, packet.dport)):
        end = rule.ends[name]
        if packet.known and not (inside(address, end) and between(port, end)):
            return False
        unsure |= end.asked and not packet.known
    unsure |= rule.ends["responder"].asked
    return None if unsure else True


def decides(rules: tuple[Rule, ...], packet: Packet) -> int | None:
    """Return the number of the rule that surely decides about a packet, or None."""
    said = ((number, answer(rule, packet)) for number, rule in enumerate(rules))
    number, holds = next((one for one in said if one[1] is not False), (None, None))
    return number if holds else None


class Kernel:
    """Programs with rules, loaded."""

    def __init__(self, texts: list[str], sampling: int = 1) -> None:
        options = Options(capture_rules=texts, sampling=sampling, window_rows=4096)
        self._object = libbpf.Object(OBJECT)
        for index in (0, 1):
            self._object.resize(f"rows_{index}", 4096)
        prepare(self._object, options)
        self._object.load()
        self.controls = Controls(self._object, options)
        self.controls.follow({LO: "lo"})
        self.windows = Windows(self._object)

    def run(self, packet: Packet) -> None:
        program = "ingress_l2" if packet.side == Side.INGRESS else "egress_l2"
        libbpf.test_run(self._object.program_fd(program), packet.frame, 1, sk_buff(0))

    def close(self) -> None:
        self._object.close()


@pytest.fixture(params=range(8))
def random(request: pytest.FixtureRequest) -> Random:
    return Random(request.param)


@pytest.fixture
def kernel(random: Random) -> Iterator[Kernel]:
    one = Kernel(random_rules(random, random.choice([1, 2, 5, 20, 64])))
    yield one
    one.close()


def test_packets_that_are_surely_rejected_and_no_others_have_no_row(random: Random, kernel: Kernel) -> None:
    rules = kernel.controls.rules
    for _ in range(250):
        packet = random_packet(random)
        for _ in range(2):  # the second time by a verdict, or by a row
            kernel.run(packet)
        window, left_out = kernel.windows.take(), kernel.controls.left_out()
        by = decides(rules, packet)
        rejects = by is not None and rules[by].rejects
        where = [rule.text for rule in rules], packet
        assert int(window.rows["value"]["packets"].sum()) == (0 if rejects else 2), where
        counted = {number: left_out[number].tolist() for number in np.flatnonzero(left_out[:, 0]).tolist()}
        assert counted == ({by: [2, 2 * (len(packet.frame) - 14)]} if rejects else {}), where


def test_whole_connections_are_judged_as_packets_are(random: Random) -> None:
    sure = 0
    for _ in range(30):
        texts = random_rules(random, 4)
        selection = Selection(parse_rules(texts), 1, {LO: at_lo(texts)})
        for packet in (random_packet(random) for _ in range(10)):
            by = decides(tuple(selection.rules), packet)
            if by is not None:
                key = packet.key
                assert selection.decides(key, key["tuple"], key["tuple"]).tolist() == [by], (texts, packet)
                sure += 1
    assert sure > 20


def test_the_kernel_samples_as_user_space_does() -> None:
    random, rate = Random(5), 3
    kernel = Kernel([], rate)
    sent = []
    for _ in range(3000):
        addresses = random.choice([V4, V6])
        src, dst = (ip_address(random.choice(addresses)) for _ in range(2))
        packet = Packet(src, dst, random.randrange(1, 65536), random.randrange(1, 65536), 6, "S", Side.INGRESS)
        kernel.run(packet)
        sent.append(packet)
    rows = kernel.windows.take().rows
    assert is_sampled(rows["key"]["tuple"], rate).all()
    left_out = kernel.controls.left_out()[Cause.SAMPLING]
    assert int(left_out[0]) + int(rows["value"]["packets"].sum()) == len(sent)
    assert abs(len(rows) - 1000) < 5 * (3000 * (1 / 3) * (2 / 3)) ** 0.5
    kernel.close()


def test_without_rules_there_is_nothing_to_fill() -> None:
    kernel = Kernel([])
    packet = Packet(ip_address("10.0.0.1"), ip_address("10.0.0.2"), 1, 2, 17, "", Side.INGRESS)
    kernel.run(packet)
    assert len(kernel.windows.take().rows) == 1
    assert not kernel.controls.left_out().any()
    kernel.close()
