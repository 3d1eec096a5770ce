"""Cutting a serialized request by its records, points or spans: for receivers that take less at once."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from natlens.delivery.messages import messages
from natlens.otlp.request import Request, Signal

__all__ = ["halve", "within"]

PATHS: dict[Signal, tuple[str, ...]] = {
    "logs": ("resource_logs", "scope_logs", "log_records"),
    "metrics": ("resource_metrics", "scope_metrics", "metrics", "data_points"),
    "traces": ("resource_spans", "scope_spans", "spans"),
}
"""The fields from a request down to what is counted of it."""


def within(request: Request, limit_bytes: int) -> Iterator[Request]:
    """Yield requests of at most ``limit_bytes`` with the same records in order; a record over it stands alone."""
    if len(request.data) <= limit_bytes or request.records == 1:
        yield request
        return
    for half in halve(request):
        yield from within(half, limit_bytes)


def halve(request: Request) -> tuple[Request, Request]:
    """Return the first and the second half of a request of at least 2 records, each with resource and scope.

    Points are cut within their metric, which then stands in both halves: what came first in the
    request (a series' point at its birth) is in the first half or before others in the second.
    """
    whole = messages(request.signal).request.FromString(request.data)
    middle = request.records // 2
    return _part(whole, request.signal, 0, middle), _part(whole, request.signal, middle, request.records)


def _part(whole: Message, signal: Signal, start: int, stop: int) -> Request:
    """Return records ``start`` to ``stop``, and around them whatever else the request says."""
    part = type(whole)()
    part.CopyFrom(whole)
    _keep(part, PATHS[signal], start, stop)
    return Request(part.SerializeToString(), stop - start, signal)


def _keep(message: Message, path: tuple[str, ...], start: int, stop: int) -> int:
    """Take out all but records ``start`` to ``stop`` and what is left without any; return how many there were."""
    children = _children(message, path[0])
    if len(path) == 1:
        count = len(children)
        del children[max(stop, 0) :]
        del children[: max(start, 0)]
        return count
    at = 0
    for child in children:
        at += _keep(child, path[1:], start - at, stop - at)
    for number in reversed(range(len(children))):
        if not _children(children[number], path[1]):
            del children[number]
    return at


def _children(message: Message, field: str) -> Any:
    """Return a repeated field; the points of a metric stand one deeper, in its kind of data."""
    if field != "data_points":
        return getattr(message, field)
    kind = message.WhichOneof("data")
    return getattr(message, kind).data_points if kind else []
