"""rotel, the second receiver: what it says it received is what was sent, and what it does not understand."""

import gzip
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import grpc
import pytest
import zstandard

from natlens.health import Health
from tests.collector.flows import Sent, requests_of
from tests.collector.rotel import Rotel
from tests.collector.samples import RECORDS, RESOURCE, request, typed
from tests.delivery.account import account
from tests.delivery.clients import connect, export, post
from tests.delivery.sending import sender_to

BODY = request().SerializeToString()


@pytest.fixture
def rotel(tmp_path: Path) -> Iterator[Rotel]:
    with Rotel(tmp_path) as running:
        yield running


def test_everything_arrives_over_both_transports_plain_and_by_gzip(rotel: Rotel) -> None:
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        export(rotel.grpc_url, request(), compression=compression)
    with closing(connect(rotel.http_url)) as connection:
        for answer in (
            post(connection, BODY),
            post(connection, gzip.compress(BODY), {"Content-Encoding": "gzip"}),
        ):
            assert (answer.status, answer.body) == (200, b"")
    rotel.stop()

    received = rotel.records()
    assert typed(received) == [{key: (type(value), value) for key, value in one.items()} for one in RECORDS] * 4
    assert [one["resource"] for one in received] == [RESOURCE] * len(received)
    assert {one["severityNumber"] for one in received} == {9}


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_what_natlens_sends_comes_out_as_it_went_in(rotel: Rotel, protocol: str, compression: str) -> None:
    sent, health = Sent(requests_of(1000)), Health()
    url = rotel.grpc_url if protocol == "grpc" else rotel.http_url
    with sender_to(url, health, protocol, compression=compression) as sender:
        for one in sent.requests:
            sender.send(one)
        sender.flush(time.monotonic() + 10)
    rotel.stop()
    assert account(health) == {"records_captured": 1000, "records_exported": 1000}
    sent.check([one.SerializeToString() for one in rotel.requests()])


def test_zstd_is_not_understood(rotel: Rotel) -> None:
    with closing(connect(rotel.http_url)) as connection:
        assert post(connection, zstandard.compress(BODY), {"Content-Encoding": "zstd"}).status == 400


def test_it_comes_back_on_the_same_ports_with_the_records_of_its_former_life(rotel: Rotel) -> None:
    for number in range(2):
        export(rotel.grpc_url, request([{"life": number}]))
        rotel.wait_for(number + 1)
        rotel.stop()
        rotel.start()

    assert [one["attributes"] for one in rotel.records()] == [{"life": 0}, {"life": 1}]
