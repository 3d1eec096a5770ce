"""OTLP/HTTP: what its requests and answers are, and a real server's word for each status."""

import time
from datetime import UTC, datetime
from email.utils import format_datetime, formatdate
from typing import Final

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # no stubs are published
from hypothesis import given
from hypothesis import strategies as st

from natlens.delivery.compression import codec
from natlens.delivery.exchange import Answer
from natlens.delivery.http import RETRYABLE, HttpBinding
from natlens.delivery.retry import Delivered, Outcome, Refused, Retry, TooLarge
from natlens.delivery.settings import OtlpSettings
from natlens.otlp.request import UNITS, Signal
from tests.delivery.account import counted
from tests.delivery.sending import deliver
from tests.delivery.server import Fail, Ok, Raw

PROTOCOL: Final = "http/protobuf"
PROTOBUF = {"content-type": "application/x-protobuf"}
NOW = 1_700_000_000.0

SETTINGS = OtlpSettings(PROTOCOL, "http://collector:4318/v1/logs", headers=(("x-token", "s3cret"),))
BINDING = HttpBinding(SETTINGS, codec("gzip"), "me/1", lambda: NOW)


def outcome(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Outcome:
    return BINDING.outcome(Answer(status, PROTOBUF if headers is None else headers, body))


def at(after_s: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + after_s, UTC), usegmt=True)


def test_a_request_is_the_message() -> None:
    request = BINDING.request(b"abc")
    assert (request.url, request.body) == ("http://collector:4318/v1/logs", b"abc")
    assert dict(request.headers) == {
        "content-type": "application/x-protobuf",
        "content-encoding": "gzip",
        "user-agent": "me/1",
        "x-token": "s3cret",
    }
    assert "content-encoding" not in dict(HttpBinding(SETTINGS, codec("none"), "me/1").request(b"").headers)


@pytest.mark.parametrize("status", sorted(RETRYABLE))
def test_retryable_codes_are_tried_again_with_the_same_bytes(status: int) -> None:
    counts, server, health = deliver(PROTOCOL, [Fail(status)] * 2)
    assert counts == {"records_captured": 5, "records_exported": 5}
    assert health.count("export_retries", code=f"http_{status}") == 2
    assert len(server.attempts) == 3
    assert len(set(server.attempts)) == 1


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 408, 415, 421, 422, 500, 501, 505])
def test_permanent_codes_are_counted_and_not_sent_again(status: int) -> None:
    counts, server, _ = deliver(PROTOCOL, [Fail(status)])
    assert counts == {"records_captured": 5, f"records_rejected{{code=http_{status}}}": 5}
    assert len(server.attempts) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_all_of_2xx_is_a_delivery(status: int) -> None:
    assert outcome(status) == Delivered()


@pytest.mark.parametrize("status", sorted({*range(300, 600)} - RETRYABLE - {413}))
def test_nothing_else_is_tried_again(status: int) -> None:
    assert outcome(status) == Refused(f"http_{status}")


def test_413_is_too_large_and_what_the_collector_says_for_it() -> None:
    assert outcome(413, {}, b"too much") == TooLarge("http_413", "too much")
    said = "http: request body too large"
    assert outcome(400, PROTOBUF, Status(message=said).SerializeToString()) == TooLarge("http_400", said)
    assert outcome(401, {}, said.encode()) == Refused("http_401", said)


def test_the_servers_delay_is_kept() -> None:
    counts, server, _ = deliver(PROTOCOL, [Fail(503, retry_s=1)])
    assert counts == {"records_captured": 5, "records_exported": 5}
    assert len(server.attempts) == 2
    assert server.times[1] - server.times[0] >= 1


def test_a_date_that_the_server_names_is_waited_for_and_the_deadline_comes_first() -> None:
    in_an_hour = formatdate(time.time() + 3600, usegmt=True)
    counts, server, _ = deliver(PROTOCOL, [Fail(503, retry_s=in_an_hour)], within_s=0.4)
    assert counts == {"records_captured": 5, "records_dropped{reason=shutdown}": 5}
    assert len(server.attempts) == 1


@pytest.mark.parametrize(
    ("value", "after_s"),
    [
        *((" 7 ", 7.0), ("0", 0.0), ("120", 120.0), ("9" * 5000, 999_999_999.0)),
        *((at(90), 90.0), (at(-90), 0.0)),
        ("Tuesday, 14-Nov-23 22:13:30 GMT", 10.0),  # RFC 850
        ("Tue Nov 14 22:13:30 2023", 10.0),  # asctime
        *(("", None), ("soon", None), ("-1", None), ("1.5", None), ("²", None), ("Tue, 99 Nov 2023", None)),
        ("Tue, 14 Nov 99999 22:13:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, after_s: float | None) -> None:
    for status in (429, 503):
        assert outcome(status, {"retry-after": value}) == Retry(f"http_{status}", "", after_s)
    assert outcome(500, {"retry-after": value}) == Refused("http_500")


@pytest.mark.parametrize(("rejected", "taken"), [(2, 3), (5, 0), (99, 0), (-1, 5)])
def test_partial_success_is_counted_and_never_sent_again(rejected: int, taken: int, signal: Signal) -> None:
    counts, server, _ = deliver(PROTOCOL, [Ok(rejected=rejected, message="too old")], signal=signal)
    ends = {"exported": taken, "rejected{code=partial_success}": 5 - taken}
    assert counts == counted(signal, captured=5, **{end: count for end, count in ends.items() if count})
    assert len(server.attempts) == 1


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"\xff", "application/x-protobuf"), (b"{}", "application/json"), (b"<html>" * 50_000, "text/html")],
)
def test_an_answer_that_cannot_be_read_is_a_delivery_and_said_once(
    body: bytes, content_type: str, signal: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    counts, server, _ = deliver(PROTOCOL, [Raw(body, content_type=content_type)], signal=signal)
    assert counts == counted(signal, captured=5, exported=5)
    assert len(server.attempts) == 1
    (message,) = caplog.messages
    name = {"logs": "Logs", "metrics": "Metrics", "traces": "Trace"}[signal]
    assert message.endswith(f"took 5 {UNITS[signal]} and says: its answer is not an Export{name}ServiceResponse")


@pytest.mark.parametrize(
    ("headers", "body", "message"),
    [
        (PROTOBUF, Status(code=3, message="bad\ndata").SerializeToString(), "bad data"),
        ({"content-type": "Application/X-Protobuf; a=b"}, Status(message="bad").SerializeToString(), "bad"),
        (PROTOBUF, b"\xff", "its answer is not a google.rpc.Status"),
        (PROTOBUF, b"", ""),
        ({"content-type": "text/plain"}, b" not\x1b[31m here\r\n", "not [31m here"),
        ({}, b"\xff\xfe", "��"),
        ({"location": "https://elsewhere/"}, b"x", "redirects to https://elsewhere/, which is not followed"),
    ],
)
def test_messages_are_the_servers_words_on_one_line(headers: dict[str, str], body: bytes, message: str) -> None:
    assert outcome(400, headers, body) == Refused("http_400", message)


NAMES = st.sampled_from(["content-type", "retry-after", "location"])
VALUES = st.binary(max_size=20).map(lambda raw: raw.decode("utf-8", "replace")) | st.sampled_from(
    ["application/x-protobuf", "Tue, 14 Nov 2023 22:13:30 -9999"]
)


@given(st.integers(100, 999), st.dictionaries(NAMES, VALUES), st.binary())
def test_any_answer_means_something(status: int, headers: dict[str, str], body: bytes) -> None:
    assert outcome(status, headers, body).message.isprintable()
