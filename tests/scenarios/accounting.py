"""The kernel's own accounting: conntrack entries with both tuples and their counts, from procfs."""

import ipaddress
import re
from pathlib import Path
from typing import NamedTuple

from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.packets import Directed
from natlens.ui.lab.wire import Count

__all__ = ["Entry", "entries"]

FIELD = re.compile(r"(\w+)=(\S+)")
TUPLES = "src", "dst", "sport", "dport", "type", "code", "id", "packets", "bytes"


class Entry(NamedTuple):
    original: Directed
    reply: Directed
    zone: int
    forward: Count
    reverse: Count


def _direction(proto: int, fields: dict[str, str]) -> tuple[Directed, Count]:
    if "id" in fields:
        sport, dport = int(fields["id"]), int(fields["type"]) << 8 | int(fields["code"])
    else:
        sport, dport = int(fields.get("sport", 0)), int(fields.get("dport", 0))
    src, dst = (str(ipaddress.ip_address(fields[name])) for name in ("src", "dst"))
    return Directed(src, sport, dst, dport, proto), Count(int(fields["bytes"]), int(fields["packets"]))


def _entry(line: str) -> Entry:
    both: list[dict[str, str]] = [{}, {}]
    zone = 0
    for name, value in FIELD.findall(line):
        if name == "zone":
            zone = int(value)
        elif name in TUPLES:
            both[name in both[0]][name] = value
    proto = int(line.split()[3])
    (original, forward), (reply, reverse) = (_direction(proto, fields) for fields in both)
    return Entry(original, reply, zone, forward, reverse)


def entries(namespace: Namespace) -> list[Entry]:
    """Return the conntrack table of a namespace (``nf_conntrack_acct`` must be on)."""
    with namespace.enter():
        return [_entry(line) for line in Path("/proc/thread-self/net/nf_conntrack").read_text().splitlines()]
