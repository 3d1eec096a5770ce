"""An encoded request: what the encoder makes and an outlet takes."""

from typing import NamedTuple

__all__ = ["REQUEST_BYTES", "REQUEST_RECORDS", "Request"]

REQUEST_BYTES = 4_000_000
"""Limit of a request: gRPC receivers take 4 MiB, which includes some framing of their own."""

REQUEST_RECORDS = 1000
"""Records of a request at most: enough for compression to bite, few enough to be sent again cheaply."""


class Request(NamedTuple):
    """One serialized ``ExportLogsServiceRequest``."""

    data: bytes
    """At most :data:`REQUEST_BYTES`, unless one record alone is larger."""
    records: int
    """How many log records it holds, at least 1."""
