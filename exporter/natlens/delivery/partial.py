"""``Export{Logs,Metrics,Trace}ServiceResponse``: whether a server took everything."""

from typing import Any

from natlens.delivery.exchange import one_line
from natlens.delivery.retry import Delivered
from natlens.otlp.request import Signal

__all__ = ["read_response"]

REJECTED: dict[Signal, str] = {
    "logs": "rejected_log_records",
    "metrics": "rejected_data_points",
    "traces": "rejected_spans",
}


def read_response(data: bytes, signal: Signal) -> Delivered:
    """Return what a serialized response says; one that cannot be read is a delivery with a message.

    OTLP, Partial Success: the request is never sent again; ``error_message`` without anything
    rejected is a warning. Nearly every response is empty, and costs no import of the message's classes.
    """
    if not data:
        return Delivered()
    from google.protobuf.message import DecodeError

    from natlens.delivery.messages import messages

    kind = messages(signal).response
    try:
        response: Any = kind.FromString(data)
    except DecodeError:
        return Delivered(message=f"its answer is not an {kind.DESCRIPTOR.name}")
    partial = response.partial_success
    return Delivered(getattr(partial, REJECTED[signal]), one_line(partial.error_message))
