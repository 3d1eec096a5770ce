"""OTLP receivers that listen, do not listen, or say no: real ones on loopback."""

import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.collector.tls import Authority
from tests.delivery.server import Fail, Receiver, Transport
from tests.ui.doctoring import FEW, looked, one, worst

from natlens.config import Options
from natlens.otlp.request import Signal
from natlens.ui.doctor.check import Finding, Status
from natlens.ui.doctor.endpoints import look_at_endpoint
from natlens.ui.doctor.machine import Machine

TRANSPORTS: dict[str, Transport] = {"grpc": "grpc", "http/protobuf": "http"}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def asked(signal: Signal = "logs", environ: dict[str, str] | None = None, **options: Any) -> list[Finding]:
    given = Options(**{**FEW, **options})
    found = looked(look_at_endpoint(signal), Machine(given, environ=environ or {}))
    worst(found)
    return found


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("signal", ["logs", "metrics", "traces"])
def test_receiver_takes_an_empty_request(protocol: str, compression: str, signal: Signal) -> None:
    with Receiver(transport=TRANSPORTS[protocol]) as receiver:
        found = asked(
            signal, endpoint=receiver.url, protocol=protocol, compression=compression, signals=["logs", "traces"]
        )
        assert receiver.attempts == [b""]
        assert receiver.signals == [signal]
    assert [finding.status for finding in found] == ["PASS"] * 3
    assert [finding.found.split(":")[0] for finding in found] == ["DNS", "TCP", "export"]
    assert f"({protocol}, {compression}) took an empty request in " in found[-1].found


def test_name_that_does_not_exist() -> None:
    (found,) = asked(endpoint="http://natlens-no-such-host.invalid:4317")
    assert found.status == Status.FAIL
    assert found.found.startswith("DNS: natlens-no-such-host.invalid: ")


def test_nobody_listens() -> None:
    with socket.socket() as one_port:
        one_port.bind(("127.0.0.1", 0))
        found = asked(endpoint=f"http://127.0.0.1:{one_port.getsockname()[1]}")
    refused = one(found, Status.FAIL)
    assert refused.found.endswith("Connection refused")
    assert refused.fix.startswith("start the receiver")


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_tls(protocol: str, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    with Receiver(transport=TRANSPORTS[protocol], tls=authority.server("127.0.0.1")) as receiver:
        good = asked(endpoint=receiver.url, protocol=protocol, ca_file=str(authority.ca))
        wrong = asked(endpoint=receiver.url, protocol=protocol, ca_file=str(stranger.ca))
        plain = asked(endpoint=receiver.url.replace("https:", "http:"), protocol=protocol)
        assert len(receiver.attempts) == 1
    assert [finding.found.split(":")[0] for finding in good] == ["DNS", "TCP", "TLS", "export"]
    assert worst(good) == Status.PASS
    assert f"trusted by {authority.ca}, certificate until " in good[2].found
    untrusted = one(wrong, Status.FAIL)
    assert untrusted.found.startswith("TLS: 127.0.0.1: ")
    assert untrusted.fix == "set ca_file to the authority that signed it"
    assert one(plain, Status.FAIL).found.startswith("export: http://127.0.0.1:")


def test_certificate_of_another_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Receiver(tls=authority.server("collector.example")) as receiver:
        found = one(asked(endpoint=receiver.url, ca_file=str(authority.ca)), Status.FAIL)
    assert found.fix == "call the receiver by a name that its certificate has"


def test_receiver_without_tls_called_by_https() -> None:
    with Receiver(transport="http") as receiver:
        found = one(asked(endpoint=receiver.url.replace("http:", "https:"), protocol="http/protobuf"), Status.FAIL)
    assert found.found.startswith("TLS: ")
    assert "without TLS" in found.fix


def test_client_certificate_that_is_missing(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Receiver(tls=authority.server("127.0.0.1", mutual=True)) as receiver:
        found = one(asked(endpoint=receiver.url, ca_file=str(authority.ca)), Status.FAIL)
        client = authority.client()
        shown: dict[str, Any] = {"client_certificate_file": str(client.cert), "client_key_file": str(client.key)}
        assert worst(asked(endpoint=receiver.url, ca_file=str(authority.ca), **shown)) == Status.PASS
    assert "client certificate" in found.found + found.fix


@pytest.mark.parametrize(
    ("answer", "transport", "fix"),
    [
        (Fail(grpc.StatusCode.UNAUTHENTICATED), "grpc", "check headers (the receiver wants other credentials)"),
        (Fail(grpc.StatusCode.UNIMPLEMENTED), "grpc", "the receiver does not take this signal by this protocol"),
        (Fail(grpc.StatusCode.UNAVAILABLE), "grpc", "check endpoint, protocol"),
        (Fail(401), "http", "check headers (the receiver wants other credentials)"),
        (Fail(404), "http", "check the path"),
        (Fail(503), "http", "check endpoint, protocol"),
    ],
)
def test_receiver_that_refuses(answer: Fail, transport: Transport, fix: str) -> None:
    protocol = next(name for name, kind in TRANSPORTS.items() if kind == transport)
    with Receiver([answer], transport=transport) as receiver:
        found = one(asked(endpoint=receiver.url, protocol=protocol), Status.FAIL)
        assert len(receiver.attempts) == 1  # it is not tried again
    assert "told to fail" in found.found
    assert found.fix.startswith(fix)


def test_wrong_protocol_for_the_port() -> None:
    with Receiver(transport="http") as receiver:
        found = one(asked(endpoint=receiver.url, protocol="grpc"), Status.FAIL)
    assert found.found.startswith("export: ")


def test_receiver_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = one(asked(endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.3), Status.FAIL)
    assert "deadline_exceeded" in found.found


def test_signals_that_go_nowhere() -> None:
    assert [finding.found for finding in asked("traces")] == ["not sent (signals)"]
    assert [finding.found for finding in asked("logs")] == ["no endpoint: records are printed, or go to output"]
    only_metrics = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:1"}
    found = one(asked("logs", only_metrics), Status.WARN)
    assert found.found == ("logs are not sent: neither endpoint nor OTEL_EXPORTER_OTLP_LOGS_ENDPOINT is set")


def test_secrets_are_not_shown() -> None:
    with Receiver([Fail(401)], transport="http") as receiver:
        found = asked(endpoint=f"{receiver.url}?token=hunter2", protocol="http/protobuf", headers={"k": "hunter2"})
    assert "hunter2" not in str(found)
