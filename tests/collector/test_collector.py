"""The Collector that other tests rely on: what it says it received is what was sent."""

import math
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub

from tests.collector import build
from tests.collector.process import Collector, CollectorError
from tests.collector.records import RecordFile
from tests.collector.samples import RECORDS, RESOURCE, Value, request

EXAMPLE = Path(__file__).parents[2] / "otel-config" / "collector-file.yaml"


def send(endpoint: str, records: Sequence[Mapping[str, Value]]) -> None:
    with grpc.insecure_channel(endpoint) as channel:
        stub = LogsServiceStub(channel)  # type: ignore[no-untyped-call]
        stub.Export(request(records), timeout=10)


def test_every_attribute_type_arrives_as_it_was_sent(collector: Collector) -> None:
    send(collector.endpoint, RECORDS)

    received = collector.wait_for(len(RECORDS))

    assert [record["attributes"] for record in received] == RECORDS
    for record, sent in zip(received, RECORDS, strict=True):  # True == 1 == 1.0, so the types are compared too
        assert {key: type(value) for key, value in record["attributes"].items()} == {
            key: type(value) for key, value in sent.items()
        }


def test_what_surrounds_the_attributes_arrives_too(collector: Collector) -> None:
    send(collector.endpoint, RECORDS[:2])

    assert [{**record, "attributes": {}} for record in collector.wait_for(2)] == [
        {
            "attributes": {},
            "resource": RESOURCE,
            "scope": "natlens",
            "scopeVersion": "1.2.3",
            "scopeAttributes": {"exact": True},
            "timeUnixNano": 2**60 + number,
            "observedTimeUnixNano": 2**60 + 2**54 + number,
            "eventName": "natlens.connection",
            "body": f"record {number}",
            "severityNumber": 9,
            "severityText": "INFO",
        }
        for number in range(2)
    ]


def test_it_comes_back_on_the_same_port_with_the_records_of_its_former_life(collector: Collector) -> None:
    before = collector.endpoint
    send(before, [{"life": 1}])
    collector.stop()
    collector.start()
    send(before, [{"life": 2}])

    assert collector.endpoint == before
    assert [record["attributes"] for record in collector.wait_for(2)] == [{"life": 1}, {"life": 2}]


def test_stopping_loses_nothing_that_was_acknowledged(collector: Collector) -> None:
    for number in range(50):
        send(collector.endpoint, [{"number": number}])
    collector.stop()

    assert [record["attributes"]["number"] for record in collector.records()] == list(range(50))


def test_records_that_do_not_come_are_an_error_with_the_collectors_log(collector: Collector) -> None:
    send(collector.endpoint, RECORDS[:1])
    collector.wait_for(1)

    with pytest.raises(CollectorError, match=r"has 1 of 2 records after 0 s(.|\n)*Everything is ready"):
        collector.wait_for(2, timeout=0)


def test_a_port_in_use_is_an_error_with_the_collectors_log(collector_binary: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = Collector(collector_binary, tmp_path, port=other.getsockname()[1])
        with pytest.raises(CollectorError, match=r"left with status 1(.|\n)*address already in use"):
            taken.start()


@pytest.fixture
def netns() -> Iterator[str]:
    name = "natlens-test-collector"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def test_it_runs_in_a_network_namespace(collector_binary: Path, tmp_path: Path, netns: str) -> None:
    with Collector(collector_binary, tmp_path, netns=netns) as inside:
        assert Path(f"/proc/{inside.pid}/ns/net").stat().st_ino == Path("/run/netns", netns).stat().st_ino


def test_the_example_for_users_is_valid(collector_binary: Path) -> None:
    done = subprocess.run(
        [collector_binary, "validate", f"--config={EXAMPLE}"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_a_line_is_read_once_it_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    records = RecordFile(path)
    line = '{"resourceLogs":[{"resource":{},"scopeLogs":[{"scope":{},"logRecords":[{}]}]}]}\n'

    lengths = [len(records.records())]
    for written in (line + line[:20], line + line, line + line + line[:-1]):
        path.write_text(written)
        lengths.append(len(records.records()))

    assert lengths == [0, 1, 2, 2]


def test_an_attribute_sent_twice_is_an_error(tmp_path: Path) -> None:
    twice = '{"attributes":[{"key":"a","value":{"intValue":"1"}},{"key":"a","value":{"intValue":"2"}}]}'
    path = tmp_path / "records.jsonl"
    path.write_text('{"resourceLogs":[{"resource":{},"scopeLogs":[{"scope":{},"logRecords":[' + twice + "]}]}]}\n")

    with pytest.raises(ValueError, match="'a' was sent twice"):
        RecordFile(path).records()


def test_a_double_that_json_has_no_number_for_is_still_a_double(collector: Collector) -> None:
    send(collector.endpoint, [{"nan": math.nan, "infinity": -math.inf}])

    (record,) = collector.wait_for(1)

    assert math.isnan(record["attributes"]["nan"])
    assert record["attributes"]["infinity"] == -math.inf


def test_any_change_of_manifest_pins_or_go_asks_for_another_build() -> None:
    manifest = build.MANIFEST.read_bytes()
    keys = {
        build.cache_key(manifest, b"pins", "go1.26"),
        build.cache_key(manifest.replace(b"v0.159.0", b"v0.160.0"), b"pins", "go1.26"),
        build.cache_key(manifest, b"other pins", "go1.26"),
        build.cache_key(manifest, b"pins", "go1.27"),
        build.cache_key(manifest + b"pins", b"", "go1.26"),
    }

    assert len(keys) == 5
    assert build.cache_key(manifest, b"pins", "go1.26") in keys


def test_without_go_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(build.BuildError, match="install Go"):
        build.binary()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"NATLENS_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/natlens"),
        ({"HOME": "/c"}, "/c/.cache/natlens"),
    ],
)
def test_the_cache_is_where_the_variables_say(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name in ("NATLENS_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert build.cache_directory() == Path(expected)
