"""OTLP JSON lines: one request of any signal a line, the format of the Collector's file exporter.

The OTLP/JSON mapping is protobuf's own with two differences: trace and span ids are hexadecimal,
and enums are numbers.
"""

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, overload

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

__all__ = ["parse_lines", "to_line"]

Kind = TypeVar("Kind", bound=Message)

SIGNALS = frozenset({"resourceLogs", "resourceMetrics", "resourceSpans", "resourceProfiles"})
"""The key by which a line is known."""

POINTS = tuple(
    ("resourceMetrics", "scopeMetrics", "metrics", kind, "dataPoints")
    for kind in ("gauge", "sum", "histogram", "exponentialHistogram")
)
WITH_IDS = (
    ("resourceLogs", "scopeLogs", "logRecords"),
    ("resourceSpans", "scopeSpans", "spans"),
    ("resourceSpans", "scopeSpans", "spans", "links"),
    *((*points, "exemplars") for points in POINTS),
)
"""Where objects with ids are."""
IDS = ("traceId", "spanId", "parentSpanId")


def to_line(request: Message) -> str:
    """Return an ``Export{Logs,Metrics,Trace}ServiceRequest`` as one line of JSON, without the line's end."""
    tree = json_format.MessageToDict(request, use_integers_for_enums=True)
    _change_ids(tree, lambda text: base64.b64decode(text).hex())
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"))


@overload
def parse_lines(text: str | Iterable[str]) -> Iterator[ExportLogsServiceRequest]: ...
@overload
def parse_lines(text: str | Iterable[str], kind: type[Kind]) -> Iterator[Kind]: ...
def parse_lines(
    text: str | Iterable[str], kind: type[Kind] | type[ExportLogsServiceRequest] = ExportLogsServiceRequest
) -> Iterator[Kind] | Iterator[ExportLogsServiceRequest]:
    """Yield the request of each line that is of this ``kind``; requests of other signals are skipped.

    So are empty lines and unknown fields. ``text`` is the whole text, or an iterable of lines such as
    an open file. Raises ``ValueError`` that names the line where one is not an OTLP JSON request.
    """
    # Not splitlines(): JSON strings may hold other line separators, such as U+2028.
    for number, line in enumerate(text.split("\n") if isinstance(text, str) else text, 1):
        if line.strip():
            request = kind()
            if _parse(line, number, request):
                yield request


def _parse(line: str, number: int, request: Message) -> bool:
    """Read a line into ``request``; return False where the line is of another signal."""
    try:
        tree = json.loads(line)
        if not SIGNALS.isdisjoint(tree.keys()) and request.DESCRIPTOR.fields[0].json_name not in tree:
            return False
        _change_ids(tree, lambda text: base64.b64encode(bytes.fromhex(text)).decode())
        json_format.ParseDict(tree, request, ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"line {number} is not an OTLP JSON request: {error}") from error
    return True


def _change_ids(tree: dict[str, Any], change: Callable[[str], str]) -> None:
    for path in WITH_IDS:
        if path[0] in tree:
            for one in _at(tree, path):
                for key in IDS:
                    if key in one:
                        one[key] = change(one[key])


def _at(tree: dict[str, Any], path: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield the objects at the end of a path of fields, which hold one object or a list of them."""
    found = tree.get(path[0], ())
    for one in (found,) if isinstance(found, dict) else found:
        if len(path) == 1:
            yield one
        else:
            yield from _at(one, path[1:])
