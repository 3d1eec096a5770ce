"""OTLP JSON lines: one request a line, the format of the Collector's file exporter.

The OTLP/JSON mapping is protobuf's own with two differences: trace and span ids are hexadecimal,
and enums are numbers.
"""

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

__all__ = ["parse_lines", "to_line"]


def to_line(request: ExportLogsServiceRequest) -> str:
    """Return the request as one line of JSON, without the line's end."""
    tree = json_format.MessageToDict(request, use_integers_for_enums=True)
    _change_ids(tree, lambda text: base64.b64decode(text).hex())
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"))


def parse_lines(text: str | Iterable[str]) -> Iterator[ExportLogsServiceRequest]:
    """Yield the request of each line; empty lines and unknown fields are skipped.

    ``text`` is the whole text, or an iterable of lines such as an open file. Raises ``ValueError``
    that names the line where one is not an OTLP JSON request.
    """
    # Not splitlines(): JSON strings may hold other line separators, such as U+2028.
    for number, line in enumerate(text.split("\n") if isinstance(text, str) else text, 1):
        if line.strip():
            yield _parse(line, number)


def _parse(line: str, number: int) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    try:
        tree = json.loads(line)
        _change_ids(tree, lambda text: base64.b64encode(bytes.fromhex(text)).decode())
        json_format.ParseDict(tree, request, ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"line {number} is not an OTLP JSON request: {error}") from error
    return request


def _change_ids(tree: dict[str, Any], change: Callable[[str], str]) -> None:
    for of_resource in tree.get("resourceLogs", ()):
        for of_scope in of_resource.get("scopeLogs", ()):
            for record in of_scope.get("logRecords", ()):
                for key in ("traceId", "spanId"):
                    if key in record:
                        record[key] = change(record[key])
