"""The files of TLS: every mistake is found at once and named."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.collector.tls import Authority, ClientTls
from tests.delivery.test_settings import GENERAL, HTTP, LOGS, mistake, settings


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> ClientTls:
    return Authority(tmp_path_factory.mktemp("tls")).client()


def files(tls: ClientTls) -> dict[str, Any]:
    return {"ca_file": str(tls.ca), "client_certificate_file": str(tls.cert), "client_key_file": str(tls.key)}


def test_certificate_files_of_options_and_variables(client: ClientTls) -> None:
    expected = (str(client.ca), str(client.cert), str(client.key))
    assert settings(endpoint="https://c", **files(client)).certificates == expected
    names = ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")
    wrong = {GENERAL + name: "/none" for name in names}
    environ = {**wrong, **{LOGS + name: path for name, path in zip(names, expected, strict=True)}}
    assert settings(environ, endpoint="c:4317").certificates == expected
    assert settings({**HTTP, **environ}, endpoint="https://c").certificates == expected
    assert settings(wrong, endpoint="https://c", **files(client)).certificates == expected


@pytest.mark.parametrize("name", ["ca_file", "client_certificate_file", "client_key_file"])
def test_files_of_tls_need_https(client: ClientTls, name: str) -> None:
    path = files(client)[name]
    line = f"{name}={path!r} is for TLS, and the endpoint is not https: write https://, or leave it out"
    for environ in ({}, HTTP):
        assert mistake(environ, endpoint="http://c:1", **{name: path}) == line


def test_a_client_has_both_certificate_and_key(client: ClientTls) -> None:
    assert mistake(endpoint="https://c", client_certificate_file=str(client.cert)) == (
        f"client_certificate_file={str(client.cert)!r} is given without client_key_file: a client has both"
    )
    assert mistake({GENERAL + "CLIENT_KEY": str(client.key)}, endpoint="https://c") == (
        f"OTEL_EXPORTER_OTLP_CLIENT_KEY={str(client.key)!r} is given without client_certificate_file: a client has both"
    )


def test_files_that_cannot_be_read_are_named(client: ClientTls, tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        for name in files(client):
            given_files = {**files(client), name: str(path)}
            line = f"{name}={str(path)!r} cannot be read: {why}; check the path and its mode"
            assert mistake(endpoint="https://c", **given_files) == line
    assert mistake(endpoint="https://c", ca_file="a\0b").startswith("ca_file='a\\x00b' cannot be read: ")


def test_files_that_are_not_pem_are_named(client: ClientTls, tmp_path: Path) -> None:
    for content in (b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        path = tmp_path / "file"
        path.write_bytes(content)
        assert mistake(endpoint="https://c", ca_file=str(path)) == (
            f"ca_file={str(path)!r} holds no certificates in PEM format"
        )
        for name, other in (("client_certificate_file", client.key), ("client_key_file", client.cert)):
            given_files = {**files(client), name: str(path)}
            line = mistake(endpoint="https://c", **given_files)
            assert str(path) in line
            assert str(other).replace(".key", "").replace(".pem", "") in line
            assert line.endswith(" is not in PEM format")


def test_a_key_of_another_certificate_is_named(client: ClientTls, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other").client()
    assert mistake(endpoint="https://c", **{**files(client), "client_key_file": str(other.key)}) == (
        f"client_key_file={str(other.key)!r} is not the key of client_certificate_file={str(client.cert)!r}"
    )


def test_a_key_with_a_password_is_refused_without_asking_for_it(client: ClientTls, tmp_path: Path) -> None:
    assert client.key
    key = serialization.load_pem_private_key(client.key.read_bytes(), None)
    path = tmp_path / "encrypted.key"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"hush"),
        )
    )
    assert mistake(endpoint="https://c", **{**files(client), "client_key_file": str(path)}) == (
        f"client_key_file={str(path)!r} is encrypted: natlens has no password"
    )
