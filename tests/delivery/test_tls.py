"""TLS over both protocols."""

import time
from pathlib import Path
from typing import Any

import pytest

from natlens.delivery.trust import BUNDLES, system_trust
from natlens.health import Health
from tests.collector.tls import Authority
from tests.delivery.account import account, eventually, request_of
from tests.delivery.answering import Answering
from tests.delivery.relay import Relay
from tests.delivery.sending import receiver, sender_to
from tests.delivery.server import Receiver


def test_a_burst_waits_for_the_first_connection_over_tls_too(authorities: tuple[Authority, Authority]) -> None:
    health = Health()
    with (
        receiver("grpc", tls=authorities[0].server()) as server,
        Relay("127.0.0.1", server.port, scheme="https") as relay,
        sender_to(relay.url, health, "grpc", ca_file=str(authorities[0].ca)) as sender,
    ):
        for at in range(8):
            sender.send(request_of(1, at))
        sender.flush(time.monotonic() + 5)
        assert relay.connections == 1
    assert account(health) == {"records_captured": 8, "records_exported": 8}


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    """One that receivers have their certificates from, and a foreign one."""
    directory = tmp_path_factory.mktemp("tls")
    return Authority(directory / "ours"), Authority(directory / "foreign")


def send_over_tls(
    protocol: str, authorities: tuple[Authority, Authority], *, mutual: bool, **files: Path | None
) -> tuple[dict[str, int], Receiver]:
    health = Health()
    options: dict[str, Any] = {name: str(path) for name, path in files.items() if path}
    with (
        receiver(protocol, tls=authorities[0].server(mutual=mutual)) as server,
        sender_to(server.url, health, protocol, **options) as sender,
    ):
        sender.send(request_of(5))
        sender.flush(time.monotonic() + (5 if "ca_file" in options else 0.4))
    return account(health), server


DELIVERED = {"records_captured": 5, "records_exported": 5}


LOST = {"records_captured": 5, "records_dropped{reason=shutdown}": 5}


def test_tls_with_a_ca_file(protocol: str, authorities: tuple[Authority, Authority]) -> None:
    counts, server = send_over_tls(protocol, authorities, mutual=False, ca_file=authorities[0].ca)
    assert counts == DELIVERED
    assert len(server.attempts) == 1


def test_tls_with_the_systems_certificates(
    protocol: str, authorities: tuple[Authority, Authority], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities[0].ca))
    counts, _ = send_over_tls(protocol, authorities, mutual=False)
    assert counts == DELIVERED


def test_mutual_tls(protocol: str, authorities: tuple[Authority, Authority]) -> None:
    client = authorities[0].client()
    counts, _ = send_over_tls(
        protocol,
        authorities,
        mutual=True,
        ca_file=client.ca,
        client_certificate_file=client.cert,
        client_key_file=client.key,
    )
    assert counts == DELIVERED


def test_a_receiver_of_a_foreign_authority_gets_nothing(
    protocol: str, authorities: tuple[Authority, Authority], caplog: pytest.LogCaptureFixture
) -> None:
    health = Health()
    with (
        receiver(protocol, tls=authorities[1].server()) as server,
        sender_to(server.url, health, protocol, ca_file=str(authorities[0].ca)) as sender,
    ):
        sender.send(request_of(5))
        sender.flush(time.monotonic() + 0.4)
    assert account(health) == LOST
    assert server.attempts == []
    assert "unavailable: SSL certificate" in caplog.messages[0]


def test_a_certificate_of_another_name_is_refused(protocol: str, authorities: tuple[Authority, Authority]) -> None:
    health = Health()
    with (
        receiver(protocol, tls=authorities[0].server("other.example")) as server,
        sender_to(server.url, health, protocol, ca_file=str(authorities[0].ca)) as sender,
    ):
        sender.send(request_of(5))
        sender.flush(time.monotonic() + 0.3)
    assert account(health) == LOST
    assert server.attempts == []


def test_the_systems_certificates_are_looked_for_where_distributions_keep_them() -> None:
    assert system_trust({}, lambda path: path == BUNDLES[2]) == (BUNDLES[2], "")
    assert system_trust({}, lambda _: False) == ("", "")
    assert system_trust({"SSL_CERT_FILE": "a", "SSL_CERT_DIR": "b"}) == ("a", "b")
    assert system_trust({"SSL_CERT_DIR": "b"}) == ("", "b")


def test_a_tls_endpoint_without_tls_is_suspected(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    health = Health()
    with (
        Answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as server,
        sender_to(server.url.replace("http:", "https:"), health, protocol) as sender,
    ):
        sender.send(request_of(5))
        eventually(lambda: health.count("export_retries", code="unavailable") >= 1)
    assert "is this a port without TLS (http)?" in caplog.messages[0]
