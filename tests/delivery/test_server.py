"""The receiver that other tests rely on, held against clients that share nothing with natlens."""

import gzip
import http.client
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import zstandard
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # no stubs are published
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.collector.samples import request
from tests.collector.tls import Authority, ClientTls
from tests.delivery.account import eventually
from tests.delivery.clients import LOGS, connect, export, post
from tests.delivery.server import Answer, Fail, Ok, Raw, Receiver, Reset, Transport

REQUEST = request()
BODY = REQUEST.SerializeToString()


@contextmanager
def over_http(*answers: Answer, **options: Any) -> Iterator[tuple[Receiver, http.client.HTTPConnection]]:
    with Receiver(answers, transport="http", **options) as receiver, closing(connect(receiver.url)) as connection:
        yield receiver, connection


def send(receiver: Receiver, transport: Transport, tls: ClientTls | None = None) -> ExportLogsServiceResponse:
    if transport == "grpc":
        return export(receiver.url, REQUEST, tls=tls)
    with closing(connect(receiver.url, tls)) as connection:
        answer = post(connection, BODY)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-protobuf")
    return ExportLogsServiceResponse.FromString(answer.body)


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_a_request_is_taken_after_its_delay_and_noted(transport: Transport) -> None:
    before = time.monotonic()
    with Receiver([Ok(delay_s=0.1)], transport=transport) as receiver:
        assert send(receiver, transport) == ExportLogsServiceResponse()
        (at,) = receiver.times
        assert before < at < time.monotonic() - 0.1
        assert receiver.url == f"http://127.0.0.1:{receiver.port}"
    assert receiver.attempts == receiver.taken == [BODY]
    assert receiver.records == list(REQUEST.resource_logs[0].scope_logs[0].log_records)
    assert receiver.metadata[0].keys() >= {"user-agent" if transport == "grpc" else "content-type"}


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_a_partial_success_says_so(transport: Transport) -> None:
    with Receiver([Ok(rejected=2, message="too old")], transport=transport) as receiver:
        told = send(receiver, transport).partial_success
        assert (told.rejected_log_records, told.error_message) == (2, "too old")
        assert not send(receiver, transport).HasField("partial_success")
    assert receiver.taken == [BODY] * 2


def test_every_signal_has_its_service_over_grpc() -> None:
    metrics, traces = ExportMetricsServiceRequest(), ExportTraceServiceRequest()
    metrics.resource_metrics.add(schema_url="m")
    traces.resource_spans.add(schema_url="t")
    with Receiver([Ok(rejected=2), Ok(rejected=3), Ok()]) as receiver:
        assert export(receiver.url, metrics).partial_success.rejected_data_points == 2
        assert export(receiver.url, traces).partial_success.rejected_spans == 3
        assert not export(receiver.url, metrics).HasField("partial_success")
    assert receiver.signals == ["metrics", "traces", "metrics"]
    assert receiver.taken_of("metrics") == [metrics.SerializeToString()] * 2
    assert receiver.taken_of("traces") == [traces.SerializeToString()]
    assert receiver.records == []


def test_every_signal_has_its_path_over_http() -> None:
    with over_http(Ok(rejected=2), Ok(rejected=3), Reset(1)) as (receiver, connection):
        metrics = ExportMetricsServiceResponse.FromString(post(connection, b"", path="/v1/metrics").body)
        traces = ExportTraceServiceResponse.FromString(post(connection, b"", path="/v1/traces").body)
        with pytest.raises(ConnectionError):
            post(connection, b"\0", path="/v1/traces")
    assert (metrics.partial_success.rejected_data_points, traces.partial_success.rejected_spans) == (2, 3)
    assert receiver.signals == ["metrics", "traces", "traces"]
    assert receiver.taken_of("traces") == [b""]


@pytest.mark.parametrize("retry_s", [None, 0.0, 1.25])
def test_a_failure_over_grpc_carries_its_status_and_delay(retry_s: float | None) -> None:
    answers = [Fail(grpc.StatusCode.UNAVAILABLE, "busy", retry_s)]
    with Receiver(answers) as receiver, pytest.raises(grpc.RpcError) as raised:
        export(receiver.url, REQUEST)
    failed: Any = raised.value
    assert (failed.code(), failed.details()) == (grpc.StatusCode.UNAVAILABLE, "busy")
    trailers = dict(failed.trailing_metadata())
    assert ("grpc-status-details-bin" in trailers) == (retry_s is not None)
    for detail in Status.FromString(trailers.get("grpc-status-details-bin", b"")).details:
        delay = RetryInfo.FromString(detail.value).retry_delay
        assert delay.ToNanoseconds() / 1e9 == retry_s
    assert (receiver.attempts, receiver.taken) == ([BODY], [])


@pytest.mark.parametrize(("retry_s", "header"), [(None, None), (0.0, "0"), (1.25, "2"), ("tomorrow", "tomorrow")])
def test_a_failure_over_http_carries_its_status_and_delay(retry_s: float | str | None, header: str | None) -> None:
    with over_http(Fail(503, "busy", retry_s)) as (receiver, connection):
        answer = post(connection, BODY)
        assert (answer.status, answer.headers.get("retry-after")) == (503, header)
        assert answer.headers["content-type"] == "application/x-protobuf"
        assert Status.FromString(answer.body).message == "busy"
    assert (receiver.attempts, receiver.taken) == ([BODY], [])


def test_a_raw_answer_is_given_as_it_is() -> None:
    with over_http(Raw(b"<html>", 502, "text/html"), Raw(b"\xff")) as (receiver, connection):
        answers = [post(connection, BODY) for _ in range(2)]
    assert [(one.status, one.headers["content-type"], one.body) for one in answers] == [
        (502, "text/html", b"<html>"),
        (200, "application/x-protobuf", b"\xff"),
    ]
    assert (receiver.attempts, receiver.taken) == ([BODY] * 2, [])


@pytest.mark.parametrize("after_bytes", [0, 100])
def test_a_reset_comes_in_the_middle_of_the_body(after_bytes: int) -> None:
    with over_http(Reset(after_bytes)) as (receiver, connection):
        with pytest.raises(ConnectionResetError) as raised:
            post(connection, BODY)
        assert not isinstance(raised.value, http.client.RemoteDisconnected)  # that would be FIN
        connection.close()
        assert post(connection, BODY).status == 200
    assert receiver.attempts == [BODY[:after_bytes], BODY]


def test_a_reset_comes_through_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    receiver = Receiver([Reset(100)], transport="http", tls=authority.server())
    with receiver, closing(connect(receiver.url, ClientTls(authority.ca))) as connection:
        with pytest.raises(ConnectionResetError):
            post(connection, BODY)
        connection.close()
        assert post(connection, BODY).status == 200


def test_gzip_over_grpc_is_decompressed() -> None:
    with Receiver() as receiver:
        export(receiver.url, REQUEST, compression=grpc.Compression.Gzip)
    assert receiver.taken == [BODY]


def halves(body: bytes) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    yield body[len(body) // 2 :]


@pytest.mark.parametrize(
    ("headers", "compress"),
    [
        ({}, bytes),
        ({"Content-Encoding": "gzip"}, gzip.compress),
        ({"Content-Encoding": "zstd"}, zstandard.compress),
    ],
)
def test_bodies_over_http_are_decompressed(headers: dict[str, str], compress: Callable[[bytes], bytes]) -> None:
    with over_http() as (receiver, connection):
        for body in (compress(BODY), halves(compress(BODY))):
            answer = post(connection, body, headers)
            assert (answer.status, answer.body) == (200, b"")
    assert receiver.taken == [BODY] * 2
    assert receiver.metadata[0].get("content-encoding") == headers.get("Content-Encoding")


@pytest.mark.parametrize(
    ("status", "body", "headers", "path"),
    [
        (404, BODY, {}, "/"),
        (415, BODY, {"Content-Type": "application/json"}, LOGS),
        (415, zlib.compress(BODY), {"Content-Encoding": "deflate"}, LOGS),
        (415, BODY, {"Content-Encoding": "identity"}, LOGS),
        (400, BODY, {"Content-Encoding": "gzip"}, LOGS),
        (400, gzip.compress(BODY)[:-20], {"Content-Encoding": "gzip"}, LOGS),
        (400, zstandard.compress(BODY)[:-20], {"Content-Encoding": "zstd"}, LOGS),
        (400, zstandard.compress(BODY) * 2, {"Content-Encoding": "zstd"}, LOGS),
        (413, BODY + b"x", {}, LOGS),
        (413, gzip.compress(BODY + b"x"), {"Content-Encoding": "gzip"}, LOGS),
    ],
)
def test_what_http_refuses_uses_up_no_answer(status: int, body: bytes, headers: dict[str, str], path: str) -> None:
    with over_http(Fail(503), message_bytes=len(BODY)) as (receiver, connection):
        refused = post(connection, body, headers, path)
        assert (refused.status, bool(Status.FromString(refused.body).message)) == (status, True)
        assert post(connection, BODY).status == 503  # on the same connection
    assert (receiver.refused, receiver.attempts) == ([status], [BODY])


def test_what_grpc_refuses_uses_up_no_answer() -> None:
    with Receiver([Fail(grpc.StatusCode.INTERNAL)], message_bytes=len(BODY) - 1) as receiver:
        with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
            export(receiver.url, REQUEST)
        assert (len(receiver.answers), receiver.attempts) == (1, [])


@pytest.mark.parametrize("transport", ["grpc", "http"])
@pytest.mark.parametrize("mutual", [False, True])
def test_tls_is_for_those_who_belong(transport: Transport, mutual: bool, tmp_path: Path) -> None:
    authority, foreign = Authority(tmp_path / "own"), Authority(tmp_path / "foreign").client()
    others = [foreign]
    if mutual:
        others += [ClientTls(authority.ca), ClientTls(authority.ca, foreign.cert, foreign.key)]
    with Receiver(transport=transport, tls=authority.server(mutual=mutual)) as receiver:
        assert receiver.url == f"https://127.0.0.1:{receiver.port}"
        for other in others:
            with pytest.raises((grpc.RpcError, ssl.SSLError, ConnectionError)):
                send(receiver, transport, other)
        send(receiver, transport, authority.client() if mutual else ClientTls(authority.ca))
    assert receiver.attempts == [BODY]


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_leaving_ends_delays_and_connections_that_are_kept_alive(transport: Transport) -> None:
    first = Receiver([Ok(delay_s=60)], transport=transport)
    with first, ThreadPoolExecutor() as pool, socket.create_connection(("127.0.0.1", first.port), 5) as idle:
        waiting = pool.submit(send, first, transport)
        eventually(lambda: bool(first.attempts))
        first.stop()
        assert isinstance(waiting.exception(5), grpc.RpcError | ConnectionError)
        while idle.recv(1000):  # gRPC says something first
            pass
    with Receiver(transport=transport, port=first.port) as second:
        send(second, transport)
    assert (first.taken, second.taken) == ([], [BODY])


@pytest.mark.parametrize(
    ("transport", "answer"),
    [
        ("grpc", Fail(503)),
        ("grpc", Fail(grpc.StatusCode.UNAVAILABLE, retry_s="soon")),
        ("grpc", Raw(b"")),
        ("grpc", Reset()),
        ("http", Fail(grpc.StatusCode.UNAVAILABLE)),
    ],
)
def test_an_answer_that_the_transport_has_no_words_for_is_an_error(transport: Transport, answer: Answer) -> None:
    with pytest.raises(TypeError, match=f"cannot be said over {transport}"):
        Receiver([answer], transport=transport)
