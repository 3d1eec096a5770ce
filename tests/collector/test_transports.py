"""The Collector over each transport, with TLS, and what it writes."""

import gzip
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Literal

import grpc
import pytest
import zstandard

from tests.collector.process import Collector, CollectorError
from tests.collector.proto import read_requests
from tests.collector.samples import RECORDS, request, typed
from tests.collector.tls import Authority, ClientTls
from tests.delivery.clients import connect, export, post

REQUEST = request()
BODY = REQUEST.SerializeToString()


@pytest.mark.parametrize(
    ("headers", "compress"),
    [
        ({}, bytes),
        ({"Content-Encoding": "gzip"}, gzip.compress),
        ({"Content-Encoding": "zstd"}, zstandard.compress),
    ],
)
def test_records_over_http_arrive_as_they_were_sent(
    collector_binary: Path, tmp_path: Path, headers: dict[str, str], compress: Callable[[bytes], bytes]
) -> None:
    with Collector(collector_binary, tmp_path, transport="http") as collector:
        with closing(connect(collector.url)) as connection:
            assert post(connection, compress(BODY), headers).status == 200
        received = collector.wait_for(len(RECORDS))

    assert typed(received) == [{key: (type(value), value) for key, value in one.items()} for one in RECORDS]
    assert collector.url == f"http://{collector.endpoint}"


def test_requests_are_written_as_they_were_sent(collector_binary: Path, tmp_path: Path) -> None:
    sent = [request(RECORDS[:n]) for n in (1, 3, 6)]
    collector = Collector(collector_binary, tmp_path, writes="proto")
    for one in sent:
        with collector:
            export(collector.url, one)

    assert collector.requests() == sent
    with pytest.raises(CollectorError, match="write proto, not json"):
        collector.records()


def test_nothing_is_written_when_told(collector_binary: Path, tmp_path: Path) -> None:
    with Collector(collector_binary, tmp_path, writes="nothing") as collector:
        export(collector.url, REQUEST)

    assert {path.name for path in tmp_path.iterdir()} == {"collector.log", "config.yaml"}
    with pytest.raises(CollectorError, match="write nothing, not proto"):
        collector.requests()


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_mutual_tls_is_for_those_who_belong(
    collector_binary: Path, tmp_path: Path, transport: Literal["grpc", "http"]
) -> None:
    authority, foreign = Authority(tmp_path / "own"), Authority(tmp_path / "foreign").client()
    server = authority.server(mutual=True)
    with Collector(collector_binary, tmp_path, transport=transport, tls=server, writes="proto") as collector:
        for stranger in (ClientTls(authority.ca), ClientTls(authority.ca, foreign.cert, foreign.key), foreign):
            with pytest.raises((grpc.RpcError, OSError)):
                deliver(collector, transport, stranger)
        deliver(collector, transport, authority.client())

    assert collector.url == f"https://{collector.endpoint}"
    assert collector.requests() == [REQUEST]


def deliver(collector: Collector, transport: str, tls: ClientTls) -> None:
    if transport == "grpc":
        export(collector.url, REQUEST, tls=tls)
        return
    with closing(connect(collector.url, tls)) as connection:
        assert post(connection, BODY).status == 200


def test_tls_without_client_certificates(collector_binary: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "own")
    with Collector(collector_binary, tmp_path, tls=authority.server(), writes="proto") as collector:
        export(collector.url, REQUEST, tls=ClientTls(authority.ca))

    assert collector.requests() == [REQUEST]


def test_a_request_is_read_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "records"
    assert read_requests(path) == []
    message = len(BODY).to_bytes(4, "big") + BODY
    for written, count in ((b"", 0), (message[:3], 0), (message[:-1], 0), (message, 1), (message + message[:9], 1)):
        path.write_bytes(written)
        assert read_requests(path) == [REQUEST] * count
