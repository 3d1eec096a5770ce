"""Reads what the Collector's file exporter wrote as protobuf: each request after its length, 4 bytes big-endian."""

from collections.abc import Iterator
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

__all__ = ["read_messages", "read_requests"]

LENGTH_BYTES = 4


def read_requests(path: Path) -> list[ExportLogsServiceRequest]:
    """Return the requests of a file, as :func:`read_messages`."""
    return [ExportLogsServiceRequest.FromString(message) for message in read_messages(path)]


def read_messages(path: Path) -> list[bytes]:
    """Return the serialized requests of a file in order, none where there is no file.

    A last one that is not whole yet is left out: the exporter's buffer is flushed wherever it ends.
    """
    return list(_messages(memoryview(path.read_bytes() if path.exists() else b"")))


def _messages(written: memoryview) -> Iterator[bytes]:
    while len(written) >= LENGTH_BYTES:
        end = LENGTH_BYTES + int.from_bytes(written[:LENGTH_BYTES], "big")
        if end > len(written):
            return
        yield bytes(written[LENGTH_BYTES:end])
        written = written[end:]
