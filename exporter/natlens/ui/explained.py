"""An explanation as text: what an address was, and each fact about it."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from natlens.identity.explain import Explanation, Known
from natlens.identity.intervals import BEGIN, END, SECOND
from natlens.otlp.endpoints import ENDPOINT_FIELDS

__all__ = ["explained", "moment"]

HEAD = ("OUTCOME", "OBJECT", "SAYS", "SURELY SINCE (POSSIBLY)", "SURELY UNTIL (POSSIBLY)", "TOLD BY")
FEW = 4


def explained(found: Explanation) -> Iterator[str]:
    """Yield the lines."""
    yield from _named(found)
    if found.known:
        yield ""
        yield from _table([_row(one) for one in found.known])


def _named(found: Explanation) -> Iterator[str]:
    if found.ambiguous:
        yield "  has no name: more than one object may have had it then"
        return
    values = [(name, getattr(found.endpoint, name.replace(".", "_"))) for name, *_ in ENDPOINT_FIELDS]
    shown = [(name, str(value)) for name, value in values if value is not None] + [*found.endpoint.selected]
    if not shown:
        yield "  has no name: no object says that it is its own"
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        yield f"  {name:<{width}}  {value}"


def _row(known: Known) -> tuple[str, ...]:
    subject = "/".join(part for part in (known.subject.namespace, known.subject.name) if part)
    source = "/".join(part for part in (known.source.namespace, known.source.name) if part)
    ports = ",".join(str(port) for port, _ in known.ports[:FEW]) + (",…" if len(known.ports) > FEW else "")
    says = f"{known.says} {ports}".rstrip()
    held = known.held
    times = _bound(held.since, held.sure_since), _bound(held.until, held.sure_until)
    return (known.outcome, f"{known.subject.kind} {subject}", says, *times, f"{known.source.kind} {source}")


def _bound(possible: int, sure: int) -> str:
    return moment(sure) if possible == sure else f"{moment(sure)} ({moment(possible)})"


def moment(at_ns: int) -> str:
    """Return a time in UTC, an ellipsis where there is no bound."""
    if at_ns <= BEGIN or at_ns >= END:
        return "…"
    return datetime.fromtimestamp(at_ns // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    for row in (HEAD, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
