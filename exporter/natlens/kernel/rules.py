"""Rules of ``capture_rules``: which connections are counted. Pure; ``controls.py`` hands them to the kernel.

A rule is ``accept`` or ``reject``, then conditions, all of which must hold (:data:`CONDITIONS`). It is about a
connection: what one packet of it looks like does not matter. Only ``interface`` and ``direction`` are about where a
packet is counted (ADR 14).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network, ip_network

from natlens.errors import ConfigError
from natlens.kernel.structs import Cause, Side

__all__ = ["ANY", "CONDITIONS", "ENDS", "MOST", "PORTS", "PROTOCOLS", "WITH_PORTS", "End", "Rule", "parse_rules"]

MOST = int(Cause.SAMPLING)
"""Rules at most: one bit each in the kernel's tables."""

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132, "icmp": 1, "icmpv6": 58}
WITH_PORTS = (6, 17, 132)
PORTS = (0, 65535)

ANY = "any"
ENDS = (ANY, "source", "destination", "responder")
"""``any``: of the four, before and after NAT. ``responder``: what answers, after NAT."""

CONDITIONS = (
    *(f"{end}{what}" for end in ("", *(f"{end}." for end in ENDS[1:])) for what in ("cidr", "port")),
    "protocol",
    "interface",
    "direction",
)
VERDICTS = {"accept": False, "reject": True}
SIDES = {"ingress": Side.INGRESS, "egress": Side.EGRESS}
SHOWN = 60  # characters of what is refused


@dataclass(frozen=True)
class End:
    """What is asked of an end of a connection; of ``any``, address and port may be of two ends."""

    network: IPv4Network | IPv6Network | None = None
    ports: tuple[int, int] = PORTS
    """First and last."""

    @property
    def asked(self) -> bool:
        """Whether anything is."""
        return self != End()


@dataclass(frozen=True)
class Rule:
    """One rule."""

    text: str
    """As the user wrote it, spaces apart: its name in natlens' own metrics."""
    rejects: bool
    ends: dict[str, End] = field(default_factory=lambda: dict.fromkeys(ENDS, End()))
    protocol: int | None = None
    interface: str | None = None
    """Shell pattern."""
    side: Side | None = None

    @property
    def prefix(self) -> int:
        """The longest prefix of its networks, in bits; 0 where it has none."""
        return max((end.network.prefixlen for end in self.ends.values() if end.network is not None), default=0)

    @property
    def family(self) -> int | None:
        """4 or 6; None: any."""
        return next((end.network.version for end in self.ends.values() if end.network is not None), None)

    @property
    def asks_for_port(self) -> bool:
        """Whether it is about ports; protocols without any are then none of its business."""
        return any(end.ports != PORTS for end in self.ends.values())

    def is_at(self, interface: str) -> bool:
        """Tell whether packets counted at that interface are its business."""
        return self.interface is None or fnmatchcase(interface, self.interface)


def parse_rules(texts: Sequence[str]) -> tuple[Rule, ...]:
    """Return the rules in the order in which they are asked: longer prefixes first, else as given. The first decides.

    Raises :class:`~natlens.errors.ConfigError` naming the rule, the word, and what it could be.
    """
    if len(texts) > MOST:
        raise ConfigError(f"capture_rules has {len(texts)} rules; {MOST} is the most")
    return tuple(sorted(map(_rule, texts), key=lambda rule: -rule.prefix))


def _rule(text: str) -> Rule:
    verdict, *words = text.split() or [""]
    said = f"capture_rules={_shown(text)}"
    if verdict not in VERDICTS:
        raise ConfigError(f"{said} begins with {_shown(verdict)}; it must be accept or reject, then conditions")
    conditions: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name not in CONDITIONS or not equals or not value:
            raise ConfigError(
                f"{said} has {_shown(word)}; a condition is one of {', '.join(f'{one}=' for one in CONDITIONS)} "
                "with its value, without spaces"
            )
        if name in conditions:
            raise ConfigError(f"{said} has {name}= twice; write a rule for each")
        conditions[name] = value
    protocol, direction = conditions.get("protocol"), conditions.get("direction")
    if direction is not None and direction not in SIDES:
        raise ConfigError(f"{said} has direction={_shown(direction)}; it must be {' or '.join(SIDES)}")
    return _checked(
        said,
        Rule(
            " ".join([verdict, *words]),
            VERDICTS[verdict],
            {end: _end(said, "" if end == ANY else f"{end}.", conditions) for end in ENDS},
            None if protocol is None else _protocol(said, protocol),
            conditions.get("interface"),
            None if direction is None else SIDES[direction],
        ),
    )


def _end(said: str, before: str, conditions: dict[str, str]) -> End:
    cidr, port = conditions.get(f"{before}cidr"), conditions.get(f"{before}port")
    return End(
        None if cidr is None else _network(said, cidr),
        PORTS if port is None else _ports(said, port),
    )


def _checked(said: str, rule: Rule) -> Rule:
    """Return the rule; raise where it could never hold."""
    families = {end.network.version for end in rule.ends.values() if end.network is not None}
    if len(families) > 1:
        raise ConfigError(f"{said} has networks of IPv4 and of IPv6, and no connection has both; write a rule for each")
    if rule.asks_for_port and rule.protocol is not None and rule.protocol not in WITH_PORTS:
        raise ConfigError(f"{said} has a port, which its protocol has not; ports are of tcp, udp and sctp")
    return rule


def _network(said: str, value: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(value)
    except ValueError as error:
        raise ConfigError(
            f"{said} has cidr={_shown(value)}: {str(error)[: 2 * SHOWN]}; write it as 10.0.0.0/8 or fd00::/8"
        ) from error


def _ports(said: str, value: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", value)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= PORTS[1]:
        raise ConfigError(f"{said} has port={_shown(value)}; it must be a number from 1 to 65535, or two as 8000-8999")
    return first, last


def _protocol(said: str, value: str) -> int:
    if value in PROTOCOLS:
        return PROTOCOLS[value]
    if not re.fullmatch(r"[0-9]{1,3}", value) or not 1 <= int(value) <= 255:
        raise ConfigError(
            f"{said} has protocol={_shown(value)}; it must be one of {', '.join(PROTOCOLS)}, or a number from 1 to 255"
        )
    return int(value)


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")
