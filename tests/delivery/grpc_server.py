"""OTLP/gRPC for the receiver of the tests, by grpcio: gRPC's C core, which also decompresses gzip."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # no stubs are published
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from natlens.otlp.request import Signal
from tests.collector.tls import Tls
from tests.delivery.script import Answer, Fail, Ok, Script, response

__all__ = ["GrpcServer"]

SERVICES: dict[str, Signal] = {
    "opentelemetry.proto.collector.logs.v1.LogsService": "logs",
    "opentelemetry.proto.collector.metrics.v1.MetricsService": "metrics",
    "opentelemetry.proto.collector.trace.v1.TraceService": "traces",
}
THREADS = 12


class GrpcServer:
    """Listens from its making on, so that a port which is taken is an error there."""

    def __init__(self, script: Script, *, port: int, message_bytes: int, tls: Tls | None) -> None:
        self._script = script
        options = [("grpc.max_receive_message_length", message_bytes), ("grpc.so_reuseport", 0)]
        self._server = grpc.server(ThreadPoolExecutor(THREADS), options=options)
        for service, signal in SERVICES.items():
            handler = grpc.unary_unary_rpc_method_handler(partial(self._export, signal))
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
        address = f"127.0.0.1:{port}"
        if tls is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, _credentials(tls))

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def stop(self) -> None:
        """Cancel what runs and close every connection."""
        self._server.stop(0).wait()

    def _export(self, signal: Signal, raw: bytes, context: grpc.ServicerContext) -> bytes:
        answer = self._script.attempt(raw, dict(context.invocation_metadata()), signal)
        if not isinstance(answer, Ok) or not self._script.take(raw, answer, signal):
            _refuse(context, answer)
        return response(answer, signal).SerializeToString()


def _refuse(context: grpc.ServicerContext, answer: Answer) -> NoReturn:
    match answer:
        case Fail(code=grpc.StatusCode() as code, message=message, retry_s=None | int() | float() as retry_s):
            _abort(context, code, message, retry_s)
        case Ok():
            context.abort(grpc.StatusCode.UNAVAILABLE, "the receiver leaves")
        case _:
            raise TypeError(f"{answer} cannot be said over gRPC")


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, message: str, retry_s: float | None) -> NoReturn:
    if retry_s is not None:
        delay = Duration()
        delay.FromNanoseconds(int(retry_s * 1e9))
        detail = AnyMessage()
        detail.Pack(RetryInfo(retry_delay=delay))
        status = Status(code=code.value[0], message=message, details=[detail])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, message)


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    pair = (tls.key.read_bytes(), tls.cert.read_bytes())
    if tls.client_ca is None:
        return grpc.ssl_server_credentials([pair])
    return grpc.ssl_server_credentials([pair], tls.client_ca.read_bytes(), require_client_auth=True)
