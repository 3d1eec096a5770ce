"""Reads what the Collector's file exporter wrote: one OTLP/JSON export request for each line."""

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

__all__ = ["LogRecord", "RecordFile", "decode"]

Json: TypeAlias = dict[str, Any]


class LogRecord(TypedDict):
    """One log record with what it inherits; the names are those of OTLP/JSON, the values Python's."""

    attributes: dict[str, Any]
    resource: dict[str, Any]
    scope: str
    scopeVersion: str
    scopeAttributes: dict[str, Any]
    timeUnixNano: int
    observedTimeUnixNano: int
    eventName: str
    body: Any
    severityNumber: int
    severityText: str


class RecordFile:
    """A file that is still being written: each look parses only what is new, and only finished lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._records: list[LogRecord] = []

    def records(self) -> list[LogRecord]:
        """Return every record so far, in the order of arrival."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
            finished = new[: new.rfind(b"\n") + 1]
            self._offset += len(finished)
            for line in finished.splitlines():
                self._records.extend(decode(json.loads(line)))
        return self._records


def decode(request: Json) -> Iterator[LogRecord]:
    """Yield every log record of an OTLP/JSON request, in order."""
    for of_resource in request.get("resourceLogs", ()):
        resource = _attributes(of_resource.get("resource", {}).get("attributes", ()))
        for of_scope in of_resource.get("scopeLogs", ()):
            for record in of_scope.get("logRecords", ()):
                yield _record(record, of_scope.get("scope", {}), resource)


def _record(record: Json, scope: Json, resource: dict[str, Any]) -> LogRecord:
    """Join a record with its resource and scope; OTLP/JSON leaves out what has its default value."""
    return LogRecord(
        attributes=_attributes(record.get("attributes", ())),
        resource=resource,
        scope=scope.get("name", ""),
        scopeVersion=scope.get("version", ""),
        scopeAttributes=_attributes(scope.get("attributes", ())),
        timeUnixNano=int(record.get("timeUnixNano", 0)),
        observedTimeUnixNano=int(record.get("observedTimeUnixNano", 0)),
        eventName=record.get("eventName", ""),
        body=_value(record.get("body", {})),
        severityNumber=record.get("severityNumber", 0),
        severityText=record.get("severityText", ""),
    )


def _attributes(pairs: Iterable[Json]) -> dict[str, Any]:
    """Decode attributes; a key that comes twice is the sender's error and would vanish in a dict."""
    decoded: dict[str, Any] = {}
    for pair in pairs:
        if pair["key"] in decoded:
            raise ValueError(f"attribute {pair['key']!r} was sent twice in one set")
        decoded[pair["key"]] = _value(pair["value"])
    return decoded


def _value(value: Json) -> object:
    """Decode an AnyValue: 64-bit integers are strings in OTLP/JSON, because a JSON number is a double to many."""
    match value:
        case {"stringValue": text}:
            return text
        case {"intValue": digits}:
            return int(digits)
        case {"doubleValue": number}:
            return float(number)  # "NaN" and "Infinity" are strings too
        case {"boolValue": truth}:
            return truth
        case {"arrayValue": items}:
            return [_value(item) for item in items.get("values", ())]
        case {"kvlistValue": items}:
            return _attributes(items.get("values", ()))
        case {"bytesValue": text}:
            return base64.b64decode(text)
        case _:
            return None
