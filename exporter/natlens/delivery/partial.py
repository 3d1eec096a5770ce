"""``ExportLogsServiceResponse``: whether a server took everything."""

from natlens.delivery.exchange import one_line
from natlens.delivery.retry import Delivered

__all__ = ["read_response"]


def read_response(data: bytes) -> Delivered:
    """Return what a serialized response says; one that cannot be read is a delivery with a message.

    OTLP, Partial Success: the request is never sent again; ``error_message`` without rejected
    records is a warning. Nearly every response is empty, and costs no import of the message's classes.
    """
    if not data:
        return Delivered()
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

    try:
        partial = ExportLogsServiceResponse.FromString(data).partial_success
    except DecodeError:
        return Delivered(message="its answer is not an ExportLogsServiceResponse")
    return Delivered(partial.rejected_log_records, one_line(partial.error_message))
