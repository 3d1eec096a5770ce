"""Records as rows of text: a Service and the pod that answered share one."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from natlens.ui.records import Record, Value

__all__ = ["COLUMNS", "Column", "escape", "json_line", "row"]


LAST_SECOND = 253_402_214_400  # a file may claim any time; later ones have no date in some time zones


class Column(NamedTuple):
    """One column: its title, the width it usually needs, and how a record fills it."""

    title: str
    width: int
    read: Callable[[Record], str]
    right: bool = False


def row(record: Record, columns: tuple[Column, ...]) -> list[str]:
    """Return one cell a column, safe to print."""
    return [escape(column.read(record)) for column in columns]


def json_line(record: Record) -> str:
    """Return all of a record as one JSON object in ASCII, attributes by their names."""
    return json.dumps({"time": _utc(record.time_ns), "body": record.body, **record.attributes}, default=_encode)


def escape(text: str) -> str:
    r"""Return text without what a terminal may act upon: other characters than printable become ``\xNN``.

    Pod names come from a cluster's users, and a record from a file may hold anything.
    """
    return text if text.isprintable() else "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(one: str) -> str:
    return one.encode("unicode_escape").decode("ascii")


def _encode(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else repr(value)


def _utc(time_ns: int) -> str:
    return f"{_seconds(time_ns):%Y-%m-%dT%H:%M:%S}.{time_ns % 1_000_000_000:09d}Z"


def _seconds(time_ns: int) -> datetime:
    return datetime.fromtimestamp(min(time_ns // 1_000_000_000, LAST_SECOND), UTC)


def _text(record: Record, name: str) -> str:
    value = record.attributes.get(name)
    return "" if value is None else str(value)


def _attribute(name: str) -> Callable[[Record], str]:
    return lambda record: _text(record, name)


def _clock(record: Record) -> str:
    return f"{_seconds(record.time_ns).astimezone():%H:%M:%S}"


def _name(record: Record, role: str) -> str:
    """Return what an end is called: pod, Service or node, else its address."""
    name = _text(record, f"{role}.k8s.pod.name") or _text(record, f"{role}.k8s.service.name")
    if name:
        namespace = _text(record, f"{role}.k8s.namespace.name")
        return f"{namespace}/{name}" if namespace else name
    node = _text(record, f"{role}.k8s.node.name") if _text(record, f"{role}.k8s.object.kind") == "node" else ""
    return node or _bracketed(_text(record, f"{role}.address"))


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _with_port(record: Record, role: str, end: str) -> str:
    port = _text(record, f"{role}.port")
    return f"{end}:{port}" if port and end else end


def _source(record: Record) -> str:
    return _name(record, "source")


def _destination(record: Record) -> str:
    dialled = _with_port(record, "destination", _name(record, "destination"))
    answered = _with_port(record, "destination.nat", _name(record, "destination.nat"))
    return f"{dialled} ⇒ {answered}" if answered else dialled


def _addresses(role: str) -> Callable[[Record], str]:
    def read(record: Record) -> str:
        ends = (_with_port(record, at, _bracketed(_text(record, f"{at}.address"))) for at in (role, f"{role}.nat"))
        return " ⇒ ".join(end for end in ends if end)

    return read


def _transport(record: Record) -> str:
    return _text(record, "network.transport") or _text(record, "network.iana_number")


def _duration(record: Record) -> str:
    value: Value = record.attributes.get("flow.duration")
    return f"{value:.3f}" if isinstance(value, int | float) else ""


TABLE = (
    Column("TIME", 8, _clock),
    Column("SOURCE", 28, _source),
    Column("DESTINATION", 52, _destination),
    Column("PROTO", 6, _transport),
    Column("STATE", 10, _attribute("flow.connection.state")),
    Column("SENT", 10, _attribute("flow.bytes.delta"), right=True),
    Column("RECEIVED", 10, _attribute("flow.reverse.bytes.delta"), right=True),
)
WIDE = (
    *TABLE,
    Column("SOURCE ADDRESS", 38, _addresses("source")),
    Column("DESTINATION ADDRESS", 40, _addresses("destination")),
    Column("NAT", 9, _attribute("nat.kind")),
    Column("INTERFACE", 15, _attribute("network.interface.name")),
    Column("PKTS SENT", 9, _attribute("flow.packets.delta"), right=True),
    Column("PKTS RECEIVED", 13, _attribute("flow.reverse.packets.delta"), right=True),
    Column("DURATION", 9, _duration, right=True),
    Column("SEQ", 4, _attribute("flow.sequence"), right=True),
    Column("FLOW", 8, lambda record: _text(record, "flow.id")[:8]),
)
COLUMNS = {"table": TABLE, "wide": WIDE}
