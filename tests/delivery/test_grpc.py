"""OTLP/gRPC: what its requests and answers are, and a real server's word for each status."""

from base64 import b64encode
from dataclasses import replace
from typing import Any, Literal

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, RetryInfo  # type: ignore[import-untyped]  # no stubs are published
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from natlens.delivery.compression import codec
from natlens.delivery.exchange import Answer
from natlens.delivery.grpc import CODES, GrpcBinding
from natlens.delivery.retry import Delivered, Outcome, Refused, Retry, TooLarge
from natlens.delivery.settings import OtlpSettings
from natlens.otlp.request import Signal
from tests.delivery.account import counted
from tests.delivery.sending import deliver
from tests.delivery.server import Fail, Ok

# The table of the OTLP specification, "OTLP/gRPC Response, Failures".
SPECIFIED = {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
PERMANENT = sorted(
    code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK and code.name not in SPECIFIED
)

SETTINGS = OtlpSettings("grpc", "http://collector:4317", headers=(("x-token", "s3cret"),), timeout_s=2.5)
BINDING = GrpcBinding(SETTINGS, codec("gzip"), "me/1")


def outcome(headers: dict[str, str], body: bytes = b"", status: int = 200) -> Outcome:
    return BINDING.outcome(Answer(status, headers, body))


def framed(message: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(message).to_bytes(4, "big") + message


def details(*messages: Any) -> str:
    """Return a grpc-status-details-bin with these details."""
    status = Status(code=8, message="in the details")
    for message in messages:
        packed = AnyMessage()
        packed.Pack(message)
        status.details.append(packed)
    return b64encode(status.SerializeToString()).decode()


def delay(seconds: int, nanos: int = 0) -> Any:
    return RetryInfo(retry_delay=Duration(seconds=seconds, nanos=nanos))


def test_a_request_is_one_framed_message() -> None:
    request = BINDING.request(b"abc")
    assert request.url == "http://collector:4317/opentelemetry.proto.collector.logs.v1.LogsService/Export"
    assert request.body == b"\1\0\0\0\3abc"
    assert dict(request.headers) == {
        "content-type": "application/grpc+proto",
        "te": "trailers",
        "grpc-timeout": "2500m",
        "grpc-encoding": "gzip",
        "grpc-accept-encoding": "identity,gzip",
        "user-agent": "me/1",
        "x-token": "s3cret",
    }


@pytest.mark.parametrize(
    ("signal", "service"),
    [("logs", "logs.v1.LogsService"), ("metrics", "metrics.v1.MetricsService"), ("traces", "trace.v1.TraceService")],
)
def test_each_signal_has_its_service(signal: Signal, service: str) -> None:
    request = GrpcBinding(replace(SETTINGS, signal=signal), codec("gzip"), "me/1").request(b"")
    assert request.url == f"http://collector:4317/opentelemetry.proto.collector.{service}/Export"


def test_a_request_without_compression_says_so() -> None:
    request = GrpcBinding(SETTINGS, codec("none"), "me/1").request(bytes(70_000))
    assert request.body == b"\0\0\1\x11\x70" + bytes(70_000)
    assert "grpc-encoding" not in dict(request.headers)


def test_codes_have_their_numbers() -> None:
    assert dict(enumerate(CODES)) == {code.value[0]: code.name.lower() for code in grpc.StatusCode}


@pytest.mark.parametrize("name", sorted(SPECIFIED))
def test_retryable_codes_are_tried_again_with_the_same_bytes(name: str) -> None:
    counts, server, health = deliver("grpc", [Fail(grpc.StatusCode[name])] * 2)
    assert counts == {"records_captured": 5, "records_exported": 5}
    assert health.count("export_retries", code=name.lower()) == 2
    assert len(server.attempts) == 3
    assert len(set(server.attempts)) == 1


@pytest.mark.parametrize("name", PERMANENT)  # resource_exhausted without RetryInfo among them
def test_permanent_codes_are_counted_and_not_sent_again(name: str) -> None:
    counts, server, _ = deliver("grpc", [Fail(grpc.StatusCode[name])])
    assert counts == {"records_captured": 5, f"records_rejected{{code={name.lower()}}}": 5}
    assert len(server.attempts) == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE])
def test_the_servers_delay_is_kept(code: grpc.StatusCode) -> None:
    counts, server, _ = deliver("grpc", [Fail(code, retry_s=0.5)])
    assert counts == {"records_captured": 5, "records_exported": 5}
    assert len(server.attempts) == 2
    assert server.times[1] - server.times[0] >= 0.5


@pytest.mark.parametrize(("rejected", "taken"), [(2, 3), (5, 0), (99, 0), (-1, 5)])
def test_partial_success_is_counted_and_never_sent_again(rejected: int, taken: int, signal: Signal) -> None:
    counts, server, _ = deliver("grpc", [Ok(rejected=rejected, message="too old")], signal=signal)
    ends = {"exported": taken, "rejected{code=partial_success}": 5 - taken}
    assert counts == counted(signal, captured=5, **{end: count for end, count in ends.items() if count})
    assert len(server.attempts) == 1


def test_a_warning_of_the_server_rejects_nothing() -> None:
    counts, server, _ = deliver("grpc", [Ok(message="mind the schema")])
    assert counts == {"records_captured": 5, "records_exported": 5}
    assert len(server.attempts) == 1


@pytest.mark.parametrize(
    ("retry_info", "after_s"),
    [
        (delay(7), 7.0),
        (delay(0, 500_000_000), 0.5),
        (delay(0), 0.0),
        (delay(-3), 0.0),
        (RetryInfo(), 0.0),
    ],
)
def test_retry_info_says_when(retry_info: Any, after_s: float) -> None:
    said = details(BadRequest(), retry_info)
    for number, code in ((8, "resource_exhausted"), (14, "unavailable")):
        for encoded in (said, said.rstrip("=")):
            headers = {"grpc-status": str(number), "grpc-status-details-bin": encoded}
            assert outcome(headers) == Retry(code, "", after_s)


@pytest.mark.parametrize("said", ["", "!", "AAAA", "A", details(BadRequest()), details()])
def test_details_without_retry_info_say_nothing(said: str) -> None:
    assert outcome({"grpc-status": "14", "grpc-status-details-bin": said}) == Retry("unavailable")
    assert outcome({"grpc-status": "8", "grpc-status-details-bin": said}) == Refused("resource_exhausted")


def test_retry_info_makes_no_permanent_code_retryable() -> None:
    assert outcome({"grpc-status": "3", "grpc-status-details-bin": details(delay(1))}) == Refused("invalid_argument")


@pytest.mark.parametrize(
    "message",
    [
        "grpc: received message larger than max (6000000 vs. 4194304)",  # grpc-go
        "grpc: received message after decompression larger than max 4194304",
        "CLIENT: Received message larger than max (4300000 vs. 4194304)",  # C-core
        "gRPC message exceeds maximum size 4194304: 4300000",  # grpc-java
        "Error, decoded message length too large: found 4300000 bytes, the limit is: 4194304 bytes",  # tonic
    ],
)
def test_words_about_the_messages_size_mean_too_large(message: str) -> None:
    for number, code in ((8, "resource_exhausted"), (11, "out_of_range")):
        assert outcome({"grpc-status": str(number), "grpc-message": message}) == TooLarge(code, message)
    assert outcome({"grpc-status": "3", "grpc-message": message}) == Refused("invalid_argument", message)


def test_a_limit_on_something_else_is_not_about_the_message() -> None:
    assert outcome({"grpc-status": "8", "grpc-message": "ingestion rate limit exceeded"}) == Refused(
        "resource_exhausted", "ingestion rate limit exceeded"
    )
    larger = {"grpc-status": "8", "grpc-message": "received message larger than max"}
    assert isinstance(outcome({**larger, "grpc-status-details-bin": details(delay(1))}), Retry)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *((400, "internal"), (401, "unauthenticated"), (403, "permission_denied"), (404, "unimplemented")),
        *((429, "unavailable"), (502, "unavailable"), (503, "unavailable"), (504, "unavailable")),
        *((200, "unknown"), (302, "unknown"), (405, "unknown"), (415, "unknown"), (500, "unknown")),
    ],
)
def test_without_a_grpc_status_the_http_status_decides(status: int, code: str) -> None:
    found = outcome({"content-type": "text/html"}, b"<html>", status)
    message = (
        f"the answer (HTTP {status}, content-type text/html) has no gRPC status; "
        "is this an OTLP/HTTP port? gRPC is usually 4317"
    )
    assert found == (Retry(code, message) if code == "unavailable" else Refused(code, message))


def test_a_grpc_status_counts_whatever_the_http_status() -> None:
    assert outcome({"grpc-status": "7"}, status=503) == Refused("permission_denied")


@pytest.mark.parametrize("number", ["17", "-1", "", "x", "9" * 5000, "²"])
def test_a_status_that_is_none_is_unknown(number: str) -> None:
    assert outcome({"grpc-status": number}) == Refused("unknown")


def test_messages_are_percent_decoded_and_kept_to_a_line() -> None:
    said = {"grpc-status": "13", "grpc-message": "no%20%C3%A4ther%0Ahere%1b[31m" + "x" * 5000}
    found = outcome(said)
    assert isinstance(found, Refused)
    assert found.message.startswith("no äther here [31mxx")
    assert len(found.message) == 300


UNREADABLE = "its answer is not one gRPC message: "


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (framed(b""), ""),
        (framed(ExportLogsServiceResponse().SerializeToString()), ""),
        (framed(codec("gzip").compress(b""), flag=1), ""),
        (b"", UNREADABLE + "it is compressed in a way that was not accepted"),
        (framed(b"", flag=2), UNREADABLE + "it is compressed in a way that was not accepted"),
        (framed(b"plain", flag=1), UNREADABLE + "Error -3 while decompressing data: incorrect header check"),
        (framed(b"") * 2, UNREADABLE + "its length is not what its prefix says"),
        (framed(b"\xff"), "its answer is not an ExportLogsServiceResponse"),
    ],
)
def test_an_answer_that_cannot_be_read_is_a_delivery(body: bytes, message: str) -> None:
    assert outcome({"grpc-status": "0", "grpc-encoding": "gzip"}, body) == Delivered(message=message)


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_an_answer_may_be_compressed_as_the_request_was(name: Literal["gzip", "zstd"]) -> None:
    packing = codec(name)
    response = ExportLogsServiceResponse()
    response.partial_success.rejected_log_records = 3
    body = framed(packing.compress(response.SerializeToString()), flag=1)
    binding = GrpcBinding(SETTINGS, packing, "me/1")
    assert binding.outcome(Answer(200, {"grpc-status": "0", "grpc-encoding": name}, body)) == Delivered(3)
    other = Answer(200, {"grpc-status": "0", "grpc-encoding": "snappy"}, body)
    assert binding.outcome(other) == Delivered(message=UNREADABLE + "it is compressed in a way that was not accepted")


NAMES = st.sampled_from(["grpc-status", "grpc-message", "grpc-status-details-bin", "content-type"])
VALUES = st.binary(max_size=20).map(lambda raw: raw.decode("utf-8", "replace")) | st.sampled_from(["0", "8", "14"])


@given(st.integers(100, 999), st.dictionaries(NAMES, VALUES), st.binary())
def test_any_answer_means_something(status: int, headers: dict[str, str], body: bytes) -> None:
    found = outcome(headers, body, status)
    assert found.message.isprintable()
