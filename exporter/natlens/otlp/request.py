"""An encoded request: what the encoders make and an outlet takes."""

from typing import Literal, NamedTuple

__all__ = ["REQUEST_BYTES", "REQUEST_RECORDS", "UNITS", "Request", "Signal"]

Signal = Literal["logs", "metrics", "traces"]

UNITS: dict[Signal, str] = {"logs": "records", "metrics": "points", "traces": "spans"}
"""What is counted of each signal: ``records_captured``, ``points_dropped``, …."""

REQUEST_BYTES = 4_000_000
"""Limit of a request: gRPC receivers take 4 MiB, which includes some framing of their own."""

REQUEST_RECORDS = 1000
"""Records of a request at most: enough for compression to bite, few enough to be sent again cheaply."""


class Request(NamedTuple):
    """One serialized ``Export{Logs,Metrics,Trace}ServiceRequest``."""

    data: bytes
    """At most :data:`REQUEST_BYTES`, unless one record alone is larger."""
    records: int
    """How many log records, data points or spans it holds, at least 1."""
    signal: Signal = "logs"
