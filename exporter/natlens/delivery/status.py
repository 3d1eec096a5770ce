"""``google.rpc.Status``, the error message of OTLP/gRPC (in a trailer) and OTLP/HTTP (in the body).

Its classes are imported where the first one comes: servers that only fail plainly send none.
"""

from typing import NamedTuple

__all__ = ["Details", "read_status"]


class Details(NamedTuple):
    """What a Status says."""

    message: str = ""
    after_s: float | None = None
    """The delay of its RetryInfo in seconds; None where there is none."""


def read_status(data: bytes) -> Details | None:
    """Return what a serialized Status says; None where ``data`` is none."""
    from google.protobuf.message import DecodeError
    from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # no stubs are published
    from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

    found = RetryInfo()
    try:
        status = Status.FromString(data)
        told = any(detail.Unpack(found) for detail in status.details)
    except DecodeError:
        return None
    delay_s = found.retry_delay.seconds + found.retry_delay.nanos / 1e9
    return Details(str(status.message), max(0.0, float(delay_s)) if told else None)
