"""natlens to the real Collector, each way that there is: 100,000 records come out as they went in, types included."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from natlens.delivery.compression import Compression
from natlens.health import Health
from natlens.otlp.attributes import ATTRIBUTES
from natlens.otlp.record import records
from tests.collector.flows import Sent, requests_of
from tests.collector.process import Collector
from tests.collector.tls import Authority, ClientTls, Tls
from tests.delivery.account import account, eventually, request_of
from tests.delivery.sending import sender_to

RECORDS = 100_000
QUEUE_BYTES = 512 << 20  # all of them at once, uncompressed
SECURITY = "plain", "tls", "mtls"
TYPES = {
    "string": "string_value",
    "int": "int_value",
    "double": "double_value",
    "bool": "bool_value",
    "string[]": "array_value",
}
DECLARED = {attribute.name: TYPES[attribute.type] for attribute in ATTRIBUTES}


@pytest.fixture(scope="module")
def sent() -> Sent:
    return Sent(requests_of(RECORDS))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("own"))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Where the Collector writes 200 MB, which nobody needs afterwards."""
    yield tmp_path
    for path in tmp_path.glob("records-*"):
        path.unlink()


def server_tls(authority: Authority, security: str) -> Tls | None:
    return None if security == "plain" else authority.server(mutual=security == "mtls")


def client_options(authority: Authority, security: str) -> dict[str, Any]:
    """Return the options that belong to it."""
    if security == "plain":
        return {}
    return files(authority.client() if security == "mtls" else ClientTls(authority.ca))


def files(tls: ClientTls) -> dict[str, Any]:
    named = {"ca_file": tls.ca, "client_certificate_file": tls.cert, "client_key_file": tls.key}
    return {option: str(path) for option, path in named.items() if path}


@pytest.mark.parametrize("security", SECURITY)
@pytest.mark.parametrize("compression", get_args(Compression))
def test_what_the_collector_wrote_is_what_was_sent(
    collector_binary: Path,
    directory: Path,
    sent: Sent,
    authority: Authority,
    protocol: str,
    transport: Literal["grpc", "http"],
    compression: Compression,
    security: str,
) -> None:
    health, tls = Health(), server_tls(authority, security)
    options = {"compression": compression, "queue_bytes": QUEUE_BYTES, **client_options(authority, security)}
    with Collector(collector_binary, directory, transport=transport, tls=tls, writes="proto") as collector:
        with sender_to(collector.url, health, protocol, **options) as sender:
            for request in sent.requests:
                sender.send(request)
            sender.flush(time.monotonic() + 60)
        counted = account(health)
    assert health.count("export_retries") == 0
    assert counted == {"records_captured": RECORDS, "records_exported": RECORDS}
    sent.check(collector.messages())


def test_what_was_sent_has_every_type_and_is_typed_as_declared(sent: Sent) -> None:
    assert (sent.records, len(sent.requests)) == (RECORDS, RECORDS // 1000)
    kinds, truths = set(), set()
    for request in sent.requests[:: len(sent.requests) // 10]:
        for record in records(ExportLogsServiceRequest.FromString(request.data)):
            found = {one.key: kind(one.value) for one in record.attributes}
            assert found == {name: DECLARED[name] for name in found}
            kinds |= set(found.values())
            truths |= {one.value.bool_value for one in record.attributes if found[one.key] == "bool_value"}
    assert kinds == set(TYPES.values())
    assert truths == {True, False}


def kind(value: AnyValue) -> str | None:
    of_each = {one.WhichOneof("value") for one in value.array_value.values}
    return value.WhichOneof("value") if of_each <= {"string_value"} else f"array of {of_each}"


def strangers(authority: Authority, foreign: ClientTls) -> dict[str, tuple[ClientTls, str]]:
    """Return what those have who do not belong, and the words by which they learn it."""
    return {
        "trusts another authority": (foreign, "SSL certificate"),
        "has no certificate": (ClientTls(authority.ca), "certificate required"),
        "has a foreign certificate": (ClientTls(authority.ca, foreign.cert, foreign.key), "unknown ca"),
    }


@pytest.mark.parametrize("stranger", ["trusts another authority", "has no certificate", "has a foreign certificate"])
def test_who_does_not_belong_exports_nothing_and_is_told_why(
    collector_binary: Path,
    tmp_path: Path,
    authority: Authority,
    protocol: str,
    transport: Literal["grpc", "http"],
    stranger: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    health, (tls, words) = Health(), strangers(authority, Authority(tmp_path / "foreign").client())[stranger]
    server = authority.server(mutual=True)
    with Collector(collector_binary, tmp_path, transport=transport, tls=server, writes="proto") as collector:
        with sender_to(collector.url, health, protocol, **files(tls)) as sender:
            sender.send(request_of(5))
            eventually(lambda: health.count("export_retries", code="unavailable") >= 3)
            assert account(health) == {"records_captured": 5, "records_pending": 5}
            sender.flush(time.monotonic())
        assert account(health) == {"records_captured": 5, "records_dropped{reason=shutdown}": 5}
    assert collector.messages() == []
    (line,) = caplog.messages
    assert line.startswith(f"{collector.url}{'' if protocol == 'grpc' else '/v1/logs'}: unavailable: ")
    assert words in line
