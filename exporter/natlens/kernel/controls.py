"""Capture controls in the kernel: rules as tables of bits, sampling, and what was left out by either.

The kernel looks up, for each address, port, protocol and interface, which rules it is in the way of (bit n: rule n);
the lowest bit that all of these leave is the first rule that holds.
"""

import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network

import numpy as np
import numpy.typing as npt

from natlens.config import Options
from natlens.health import Health
from natlens.kernel import maps
from natlens.kernel.libbpf import Object
from natlens.kernel.rules import ENDS, PORTS, WITH_PORTS, End, Rule, parse_rules
from natlens.kernel.structs import ADDRESS_PREFIX, CONTROLS, LEFT_OUT_COUNT, PORT_PREFIX, RULE_ENDS, Cause, Side

__all__ = ["Controls", "is_controlled", "prepare"]

CONTROLS_SECTION = ".rodata.controls"
PORT_BITS, ADDRESS_BITS = 16, 128


def is_controlled(options: Options) -> bool:
    """Tell whether anything is to be left out."""
    return bool(options.capture_rules) or options.sampling > 1


def prepare(loaded: Object, options: Options) -> None:
    """Tell an object that is not loaded yet what is asked for. Raises ConfigError."""
    rules = parse_rules(options.capture_rules)
    told = np.zeros((), CONTROLS)
    told["rules"], told["sampling"] = len(rules), options.sampling
    told["rejects"] = _bits(rules, lambda rule: rule.rejects)
    told["anywhere"] = _bits(rules, lambda rule: rule.interface is None)
    told["of_any_initiator"] = _bits(
        rules, lambda rule: not (rule.ends["source"].asked or rule.ends["destination"].asked)
    )
    told["of_any_responder"] = _bits(rules, lambda rule: not rule.ends["responder"].asked)
    if is_controlled(options):
        told["places"] = options.window_rows
        loaded.resize("verdicts", options.window_rows)
    loaded.set_constants(CONTROLS_SECTION, told.tobytes())


class Controls:
    """The rules of a loaded object, kept up to date with the interfaces that there are."""

    def __init__(self, loaded: Object, options: Options) -> None:
        """Fill the tables. Raises KernelError."""
        self.rules, self.sampling = parse_rules(options.capture_rules), options.sampling
        self.interfaces: dict[int, int] = {}  # ifindex → the rules that are in force there, those of vanished ones too
        self._interfaces_fd = loaded.map_fd("rule_interfaces")
        self._counts_fd = loaded.map_fd("left_out_counts")
        self._seen = np.zeros((Cause.SAMPLING + 1, 2), np.uint64)
        if self.rules:
            self._fill(loaded)

    def _fill(self, loaded: Object) -> None:
        for name, table in (("rule_addresses", addresses(self.rules)), ("rule_ports", ports(self.rules))):
            fd = loaded.map_fd(name)
            for key, value in table.items():
                maps.put(fd, key, value)
        fd = loaded.map_fd("rule_kinds")
        for kind, bits in kinds(self.rules).items():
            maps.put(fd, _word(kind, 4), _word(bits, 8))

    def follow(self, names: Mapping[int, str]) -> None:
        """Apply the rules' patterns to the interfaces that there are (ifindex → name)."""
        if not self.rules:
            return
        for index, name in names.items():
            bits = sum(1 << number for number, rule in enumerate(self.rules) if rule.is_at(name))
            if self.interfaces.get(index) != bits:
                maps.put(self._interfaces_fd, _word(index, 4), _word(bits, 8))
                self.interfaces[index] = bits

    def forget(self, index: int) -> None:
        """Let go of an interface that is gone."""
        if self.rules:
            maps.delete(self._interfaces_fd, index)

    def left_out(self) -> npt.NDArray[np.uint64]:
        """Return packets and octets that the kernel left out since the last call, by rule and last by sampling.

        Shape (65, 2).
        """
        found = np.zeros_like(self._seen)
        if self.rules or self.sampling > 1:
            one = np.zeros(maps.possible_cpus(), LEFT_OUT_COUNT)
            for number in (*range(len(self.rules)), int(Cause.SAMPLING)):
                maps.lookup(self._counts_fd, number, one)
                found[number] = one["packets"].sum(), one["octets"].sum()
        new, self._seen = found - self._seen, found
        return new

    def tell(self, decided: npt.NDArray[np.uint64], health: Health) -> None:
        """Add packets and octets by what decided about them (shape (65, 2)) to ``health``."""
        for number, rule in enumerate(self.rules):
            health.add("rule_packets", int(decided[number, 0]), rule=rule.text)
            health.add("rule_octets", int(decided[number, 1]), rule=rule.text)
        health.add("sampled_out_packets", int(decided[Cause.SAMPLING, 0]))
        health.add("sampled_out_octets", int(decided[Cause.SAMPLING, 1]))


def _bits(rules: Iterable[Rule], holds: Callable[[Rule], bool]) -> int:
    return sum(1 << number for number, rule in enumerate(rules) if holds(rule))


def _word(number: int, size: int) -> bytes:
    return number.to_bytes(size, sys.byteorder)


def _ends(rules: Iterable[Rule], holds: Callable[[End], bool]) -> bytes:
    """Return a ``struct rule_ends`` of the rules by what they ask of each end."""
    value = np.zeros((), RULE_ENDS)
    for name in ENDS:
        value[name] = sum(1 << number for number, rule in enumerate(rules) if holds(rule.ends[name]))
    return value.tobytes()


def addresses(rules: Sequence[Rule]) -> dict[bytes, bytes]:
    """Return key → value of the table of networks; the longest prefix of an address has every rule that it is in."""
    networks = [end.network for rule in rules for end in rule.ends.values() if end.network is not None]
    return dict(_of_network(rules, *prefix) for prefix in {(0, 0), *map(_mapped, networks)})


def _of_network(rules: Sequence[Rule], length: int, first: int) -> tuple[bytes, bytes]:
    def holds(end: End) -> bool:
        if end.network is None:
            return True
        outer, begin = _mapped(end.network)
        return outer <= length and begin >> (ADDRESS_BITS - outer) == first >> (ADDRESS_BITS - outer)

    key = np.zeros((), ADDRESS_PREFIX)
    key["length"], key["address"] = length, np.frombuffer(first.to_bytes(ADDRESS_BITS // 8, "big"), np.uint8)
    return key.tobytes(), _ends(rules, holds)


def ports(rules: Sequence[Rule]) -> dict[bytes, bytes]:
    """Return key → value of the table of ports; a range is as many prefixes as it takes."""
    ranges = {end.ports for rule in rules for end in rule.ends.values()} | {PORTS}
    return dict(_of_ports(rules, *prefix) for prefix in {prefix for each in ranges for prefix in _prefixes(*each)})


def _of_ports(rules: Sequence[Rule], length: int, first: int) -> tuple[bytes, bytes]:
    last = first + (1 << PORT_BITS - length) - 1
    key = np.zeros((), PORT_PREFIX)
    key["length"], key["port"] = length, socket.htons(first)
    return key.tobytes(), _ends(rules, lambda end: end.ports[0] <= first and last <= end.ports[1])


def kinds(rules: Sequence[Rule]) -> dict[int, int]:
    """Return the rules by side, family and protocol, as the kernel numbers these; those without rules are left out."""

    def of(protocol: int, family: int, side: int) -> int:
        return _bits(
            rules,
            lambda rule: (
                rule.protocol in (None, protocol)
                and rule.family in (None, family)
                and rule.side in (None, side)
                and (protocol in WITH_PORTS or not rule.asks_for_port)
            ),
        )

    found = {
        protocol | (family == 6) << 8 | side << 9: of(protocol, family, side)
        for protocol in range(256)
        for family in (4, 6)
        for side in Side
    }
    return {kind: bits for kind, bits in found.items() if bits}


def _mapped(network: IPv4Network | IPv6Network) -> tuple[int, int]:
    """Return length and first address of a network as a prefix of 128 bits; IPv4 as in the tuples."""
    length, first = network.prefixlen, int(network.network_address)
    return (length + 96, first | 0xFFFF << 32) if network.version == 4 else (length, first)


def _prefixes(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield the fewest prefixes (length, first port) that make up a range of ports."""
    while first <= last:
        aligned, fits = first & -first or 1 << PORT_BITS, 1 << ((last - first + 1).bit_length() - 1)
        size = min(aligned, fits)
        yield PORT_BITS - (size.bit_length() - 1), first
        first += size
