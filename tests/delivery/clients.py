"""OTLP clients that share nothing with natlens: gRPC's own stub, and http.client of the standard library."""

import http.client
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, overload
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from tests.collector.tls import ClientTls

__all__ = ["LOGS", "HttpAnswer", "connect", "export", "post"]

LOGS = "/v1/logs"
TIMEOUT_S = 10.0
STUBS: dict[type[Message], Callable[[grpc.Channel], Any]] = {
    ExportLogsServiceRequest: LogsServiceStub,
    ExportMetricsServiceRequest: MetricsServiceStub,
    ExportTraceServiceRequest: TraceServiceStub,
}
# Without a pool of its own, a channel would take over the connection that an earlier one made.
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))


class HttpAnswer(NamedTuple):
    """A whole answer; the names of headers are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes


@overload
def export(
    url: str,
    request: ExportLogsServiceRequest,
    *,
    tls: ClientTls | None = None,
    compression: grpc.Compression | None = None,
) -> ExportLogsServiceResponse: ...
@overload
def export(url: str, request: ExportMetricsServiceRequest) -> ExportMetricsServiceResponse: ...
@overload
def export(url: str, request: ExportTraceServiceRequest) -> ExportTraceServiceResponse: ...
def export(
    url: str, request: Message, *, tls: ClientTls | None = None, compression: grpc.Compression | None = None
) -> Message:
    """Send a request over gRPC, on a connection of its own."""
    target = urlsplit(url).netloc
    opened = (
        grpc.insecure_channel(target, OPTIONS)
        if tls is None
        else grpc.secure_channel(target, _credentials(tls), OPTIONS)
    )
    with opened as channel:
        stub = STUBS[type(request)](channel)
        answer: Message = stub.Export(request, timeout=TIMEOUT_S, compression=compression)
        return answer


def connect(url: str, tls: ClientTls | None = None) -> http.client.HTTPConnection:
    """Return a connection that is kept alive from one :func:`post` to the next."""
    host, port = urlsplit(url).hostname or "", urlsplit(url).port
    if tls is None:
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=_context(tls))


def post(
    connection: http.client.HTTPConnection,
    body: bytes | Iterable[bytes],
    headers: Mapping[str, str] = {},
    path: str = LOGS,
) -> HttpAnswer:
    """Send a body over HTTP; one that is not ``bytes`` is sent in chunks."""
    connection.request("POST", path, body, {"Content-Type": "application/x-protobuf", **headers})
    answer = connection.getresponse()
    return HttpAnswer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def _credentials(tls: ClientTls) -> grpc.ChannelCredentials:
    cert, key = (path.read_bytes() if path else None for path in (tls.cert, tls.key))
    return grpc.ssl_channel_credentials(tls.ca.read_bytes(), key, cert)


def _context(tls: ClientTls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca)
    if tls.cert is not None:
        context.load_cert_chain(tls.cert, tls.key)
    return context
