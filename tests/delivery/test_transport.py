"""Both protocols over real connections."""

import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any

import pycurl
import pytest

from natlens import __version__
from natlens.config import Options
from natlens.delivery.exchange import Answer, HttpRequest
from natlens.delivery.settings import read_settings
from natlens.delivery.transport import CurlTransport
from natlens.errors import DeliveryError
from natlens.health import Health
from natlens.otlp.request import Signal
from tests.delivery.account import account, counted, eventually, request_of, sequences
from tests.delivery.answering import Answering
from tests.delivery.relay import Relay
from tests.delivery.sending import receiver, sender_to
from tests.delivery.server import Answer as Told
from tests.delivery.server import Ok, Receiver


class Busy(Receiver):
    """A receiver that knows how many requests it had at once."""

    most = now = 0

    def attempt(self, *request: object) -> Told:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        return super().attempt(*request)  # type: ignore[arg-type]

    def take(self, *request: object) -> bool:
        try:
            return super().take(*request)  # type: ignore[arg-type]
        finally:
            with self._lock:
                self.now -= 1


# grpcio, which the receiver is made of, has no zstd: the Collector's test has.
@pytest.mark.parametrize(
    ("protocol", "compression"),
    [
        *(("grpc", "none"), ("grpc", "gzip")),
        *(("http/protobuf", "none"), ("http/protobuf", "gzip"), ("http/protobuf", "zstd")),
    ],
)
def test_records_arrive_as_sent(protocol: str, compression: str, signal: Signal) -> None:
    health = Health()
    options: dict[str, Any] = {"compression": compression, "headers": {"x-token": "s3cret", "x-empty": ""}}
    requests = [request_of(3, signal=signal), request_of(2, 3, signal=signal)]
    with receiver(protocol) as server, sender_to(server.url, health, protocol, signal=signal, **options) as sender:
        for request in requests:
            sender.send(request)
        sender.flush(time.monotonic() + 5)
    assert account(health, signal) == counted(signal, captured=5, exported=5)
    assert sorted(server.taken_of(signal)) == sorted(request.data for request in requests)
    assert server.taken_of(signal) == server.taken
    assert server.metadata[0]["x-token"] == "s3cret"  # made up
    assert server.metadata[0]["x-empty"] == ""
    assert server.metadata[0]["user-agent"] == f"natlens/{__version__} OTel-OTLP-Exporter-Python/{__version__}"


def test_several_requests_await_their_answers_at_once_over_one_connection_or_few(protocol: str) -> None:
    health = Health()
    busy = Busy([Ok(delay_s=0.3)] * 4, transport="grpc" if protocol == "grpc" else "http")
    with busy as server, Relay("127.0.0.1", server.port) as relay, sender_to(relay.url, health, protocol) as sender:
        for at in range(12):
            sender.send(request_of(1, at))
        started = time.monotonic()
        sender.flush(started + 5)
        assert time.monotonic() - started < 0.9  # one after another: 1.2 s
        assert 2 <= server.most <= 4
        assert relay.connections == (1 if protocol == "grpc" else server.most)
    assert account(health) == {"records_captured": 12, "records_exported": 12}
    assert len(server.attempts) == 12


def test_one_request_at_a_time_keeps_order(protocol: str) -> None:
    health = Health()
    with receiver(protocol) as server, sender_to(server.url, health, protocol, requests_in_flight=1) as sender:
        for at in range(50):
            sender.send(request_of(1, at))
        sender.flush(time.monotonic() + 5)
    assert sequences(server.records) == list(range(50))


@pytest.mark.parametrize(
    ("protocol", "other", "hint"),
    [
        ("grpc", "http/protobuf", "is this an OTLP/HTTP port, or one with TLS (https)? gRPC is usually 4317"),
        ("http/protobuf", "grpc", "is this an OTLP/gRPC port? OTLP/HTTP is usually 4318"),
    ],
)
def test_the_other_protocols_port_is_suspected(
    protocol: str, other: str, hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    health = Health()
    with receiver(other) as server, sender_to(server.url, health, protocol) as sender:
        sender.send(request_of(5))
        eventually(lambda: health.count("export_retries", code="unavailable") >= 1)
    assert hint in caplog.messages[0]


def test_of_a_long_answer_only_the_beginning_is_kept() -> None:
    head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 5000000\r\n\r\n"
    with Answering(head + b"x" * 5_000_000) as server:
        settings = read_settings(Options(endpoint=server.url, protocol="http/protobuf"), {})
        assert settings
        transport = CurlTransport(settings)
        transport.start(HttpRequest(server.url, (), b""), 7)
        ((token, answer),) = transport.wait(5)
        transport.close()
    assert token == 7
    assert isinstance(answer, Answer)
    assert (answer.status, answer.headers["content-type"], answer.body) == (400, "text/plain", b"x" * 65536)


def test_redirects_are_not_followed(caplog: pytest.LogCaptureFixture) -> None:
    health = Health()
    head = b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n"
    with Answering(head) as server, sender_to(server.url, health, "http/protobuf") as sender:
        sender.send(request_of(5))
        sender.flush(time.monotonic() + 5)
    assert account(health) == {"records_captured": 5, "records_rejected{code=http_307}": 5}
    assert caplog.messages[0].endswith("http_307: redirects to http://127.0.0.1:9/, which is not followed")


def test_a_libcurl_without_http2_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pycurl, "version_info", lambda: (0, "7.0.0", 0, "Linux", 0))
    expected = (
        "endpoint 'http://c:4317': this libcurl (7.0.0) has no HTTP/2, which gRPC needs: "
        "install pycurl's wheel, or use protocol http/protobuf"
    )
    with pytest.raises(DeliveryError) as error, sender_to("http://c:4317", Health(), "grpc"):
        pass
    assert str(error.value) == expected
    with sender_to("http://c:4318", Health(), "http/protobuf"):
        pass


def test_descriptors_above_1023_are_waited_for(protocol: str) -> None:
    health = Health()
    with ExitStack() as held:
        for _ in range(1100):
            held.enter_context(socket.socket())
        with receiver(protocol) as server, sender_to(server.url, health, protocol) as sender:
            sender.send(request_of(5))
            sender.flush(time.monotonic() + 5)
    assert account(health) == {"records_captured": 5, "records_exported": 5}


@pytest.mark.parametrize(
    ("protocol", "asked"),
    [
        ("grpc", b"CONNECT collector.invalid:4317 HTTP/1.1"),  # proxies forward plain requests as HTTP/1.1
        ("http/protobuf", b"POST http://collector.invalid:4317/v1/logs HTTP/1.1"),
    ],
)
def test_a_proxy_of_the_environment_is_used(protocol: str, asked: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    health = Health()
    with Answering(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n") as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with sender_to("http://collector.invalid:4317", health, protocol) as sender:
            sender.send(request_of(5))
            eventually(lambda: health.count("export_retries") >= 1)
    assert proxy.asked[0].split(b"\r\n")[0] == asked


def test_an_idle_sender_takes_no_processor_time(protocol: str) -> None:
    health = Health()
    with receiver(protocol) as server, sender_to(server.url, health, protocol) as sender:
        sender.send(request_of(5))
        eventually(lambda: health.count("records_exported") == 5)
        before = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - before < 0.25


def test_what_sending_needs_is_imported_only_with_an_endpoint() -> None:
    code = (
        "import sys, natlens.delivery.grpc, natlens.delivery.http, natlens.delivery.sender, natlens.delivery.settings\n"
        "sys.exit(' '.join({'pycurl', 'ssl', 'zstandard', 'google.protobuf', 'grpc', 'email', 'http.client'} "
        "& set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": "exporter"}, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_healthy_exchange_imports_no_more_than_libcurl(signal: Signal) -> None:
    code = (
        "import sys, time\n"
        "from natlens.config import Options\n"
        "from natlens.delivery.otlp import open_sender\n"
        "from natlens.delivery.settings import read_settings\n"
        "from natlens.health import Health\n"
        "from natlens.otlp.request import Request\n"
        "sender = open_sender(read_settings(Options(endpoint=sys.argv[1]), {}, sys.argv[3]), Health())\n"
        "sender.send(Request(bytes.fromhex(sys.argv[2]), 1, sys.argv[3]))\n"
        "sender.flush(time.monotonic() + 5)\n"
        "sys.exit(' '.join({'google.protobuf', 'zstandard', 'email', 'http.client'} & set(sys.modules)) or 0)"
    )
    with receiver("grpc") as server:
        done = subprocess.run(
            [sys.executable, "-c", code, server.url, request_of(1, signal=signal).data.hex(), signal],
            env={"PYTHONPATH": "exporter"},
            check=False,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert len(server.taken_of(signal)) == 1
