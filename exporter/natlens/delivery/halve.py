"""Cutting a serialized request by its records: for receivers that take less at once."""

from collections.abc import Iterator

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from natlens.otlp.request import Request

__all__ = ["halve", "within"]


def within(request: Request, limit_bytes: int) -> Iterator[Request]:
    """Yield requests of at most ``limit_bytes`` with the same records in order; a record over it stands alone."""
    if len(request.data) <= limit_bytes or request.records == 1:
        yield request
        return
    for half in halve(request):
        yield from within(half, limit_bytes)


def halve(request: Request) -> tuple[Request, Request]:
    """Return the first and the second half of a request of at least 2 records, each with resource and scope."""
    whole = ExportLogsServiceRequest.FromString(request.data)
    middle = request.records // 2
    return _part(whole, 0, middle), _part(whole, middle, request.records)


def _part(whole: ExportLogsServiceRequest, start: int, stop: int) -> Request:
    """Return records ``start`` to ``stop``, and around them whatever else the request says."""
    part = ExportLogsServiceRequest()
    part.CopyFrom(whole)
    at = 0
    for of_resource in part.resource_logs:
        for of_scope in of_resource.scope_logs:
            count = len(of_scope.log_records)
            del of_scope.log_records[max(stop - at, 0) :]
            del of_scope.log_records[: max(start - at, 0)]
            at += count
        for number in reversed(range(len(of_resource.scope_logs))):
            if not of_resource.scope_logs[number].log_records:
                del of_resource.scope_logs[number]
    for number in reversed(range(len(part.resource_logs))):
        if not part.resource_logs[number].scope_logs:
            del part.resource_logs[number]
    return Request(part.SerializeToString(), stop - start)
