"""What the real Collector wrote is what the agent sent, and what really happened."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from natlens import __version__
from natlens.ui.lab.traffic import exchange, udp_socket
from natlens.ui.lab.wire import Wire
from tests.agent.process import Agent, wait_until
from tests.agent.shop import DNS, Expected, Shop, counted, told
from tests.collector.process import Collector
from tests.collector.records import LogRecord
from tests.delivery.server import Receiver

MESSAGE_BYTES = 4 << 20
RECEIVER = "127.0.0.1"
IN_ORDER = ("--requests-in-flight=1",)  # several may overtake each other


@pytest.fixture
def collector(collector_binary: Path, tmp_path: Path, shop: Shop) -> Iterator[Collector]:
    """A Collector on the node's loopback, not started."""
    made = Collector(collector_binary, tmp_path / "collector", netns=shop.namespace.name)
    yield made
    made.stop()


@pytest.fixture
def wire(shop: Shop) -> Iterator[Wire]:
    made = shop.wire()
    yield made
    made.close()


def typed(value: object) -> object:
    """Return the value with its types: 1 == 1.0 == True."""
    match value:
        case dict():
            return {key: typed(one) for key, one in value.items()}
        case list():
            return [typed(one) for one in value]
    return type(value).__name__, value


def own_delivery(record: LogRecord, collector: Collector) -> bool:
    """Tell the records of the connection that carries the records."""
    return collector.port in (record["attributes"].get("destination.port"), record["attributes"].get("source.port"))


def check(records: list[LogRecord], made: list[Expected], wire: Wire, since_ns: int) -> None:
    """Hold the last record of every connection against what was done, and its counts against the wire."""
    for expected in made:
        of_it = [record for record in records if expected.matches(record)]
        ended = [one for one in of_it if one["attributes"]["flow.end_reason"] != "active_timeout"]
        assert len(ended) == 1, (expected, of_it)
        found = ended[0]["attributes"]
        wanted = {**expected.attributes, **counted(wire, expected)}
        assert {name: found.get(name) for name in wanted} == wanted
        assert {one["attributes"]["flow.id"] for one in of_it} == {found["flow.id"]}
        assert [one["attributes"]["flow.sequence"] for one in of_it] == list(range(len(of_it)))
        check_times(ended[0], since_ns)


def all_in(records: list[LogRecord], made: list[Expected]) -> bool:
    return {told(record["attributes"]) for record in records} >= {expected.original for expected in made}


def check_times(record: LogRecord, since_ns: int) -> None:
    start, end = record["attributes"]["flow.start_time"], record["attributes"]["flow.end_time"]
    slack_ns = 20_000_000  # the coarse clock's tick, twice
    assert since_ns - slack_ns <= start <= end <= record["timeUnixNano"] + slack_ns
    assert record["timeUnixNano"] <= record["observedTimeUnixNano"] <= time.time_ns()


def test_what_the_collector_wrote_is_what_was_sent_and_what_happened(
    shop: Shop, collector: Collector, wire: Wire, tmp_path: Path
) -> None:
    since_ns = time.time_ns()
    collector.start()
    options = *IN_ORDER, "--interval=0.5", f"--endpoint=http://{collector.endpoint}", shop.identity_file(tmp_path)
    with Agent(shop.namespace, tmp_path / "sent.jsonl", *options, "--node-name=node-a").started() as agent:
        made = list(shop.calls())
        wire.settle()
        agent.stop()
    collector.stop()
    sent, received = agent.records(), collector.records()
    assert typed(received) == typed(sent)
    check(received, made, wire, since_ns)
    known = {expected.original for expected in made}
    others = [one for one in received if not own_delivery(one, collector) and told(one["attributes"]) not in known]
    assert [one["body"] for one in others if one["attributes"]["network.transport"] != "icmpv6"] == []  # neighbours
    check_surroundings(received)


def check_surroundings(records: list[LogRecord]) -> None:
    for record in records:
        assert (record["scope"], record["scopeVersion"], record["scopeAttributes"]) == ("natlens", __version__, {})
        assert (record["eventName"], record["severityNumber"]) == ("flow.connection", 9)
        assert record["resource"]["service.name"] == "natlens"
        assert record["resource"]["k8s.node.name"] == "node-a"
        assert record["body"]
    assert len({str(typed(record["resource"])) for record in records}) == 1


def test_collector_that_comes_later_gets_everything(
    shop: Shop, collector: Collector, wire: Wire, tmp_path: Path
) -> None:
    since_ns = time.time_ns()
    options = *IN_ORDER, "--interval=0.2", f"--endpoint=http://{collector.endpoint}", shop.identity_file(tmp_path)
    with Agent(shop.namespace, tmp_path / "sent.jsonl", *options).started() as agent:
        made = list(shop.calls())
        wire.settle()
        agent.wait_for("retrying")
        wait_until(lambda: all_in(agent.records(), made), "every connection is in the output")
        time.sleep(1.0)  # more attempts, that are not to be talked about
        assert len(agent.lines("retrying")) == 1
        collector.start()
        collector.wait_for(len(made))
        agent.stop()
    collector.stop()
    assert typed(collector.records()) == typed(agent.records())
    check(collector.records(), made, wire, since_ns)


def test_many_records_are_divided_into_requests_that_a_receiver_takes(shop: Shop, wire: Wire, tmp_path: Path) -> None:
    connections = 3000
    with shop.namespace.enter(), Receiver(message_bytes=64 << 20) as server:
        options = "--interval=60", f"--endpoint={server.url}", shop.identity_file(tmp_path)
        with Agent(shop.namespace, tmp_path / "sent.jsonl", *options).started() as agent:
            ports = {query(shop) for _ in range(connections)}
            wire.settle()
            agent.stop()
        assert sum(map(len, server.taken_of("logs"))) > MESSAGE_BYTES
        assert max(map(len, server.taken_of("logs"))) <= MESSAGE_BYTES
    dialled = [told(one["attributes"]) for one in agent.records()]
    assert sorted(one.sport for one in dialled if one.dst == DNS) == sorted(ports)
    assert len(server.records) == len(agent.records())


def query(shop: Shop) -> int:
    with udp_socket(shop.client.namespace, (DNS, 53)) as resolver:
        exchange(resolver, 20)
        return int(resolver.getsockname()[1])


def test_headers_of_the_variable_arrive(shop: Shop, tmp_path: Path) -> None:
    with shop.namespace.enter(), Receiver() as server:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": server.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20abc,x-tenant=shop",
        }
        with Agent(shop.namespace, tmp_path / "sent.jsonl", "--interval=0.2", environment=variables).started() as agent:
            shop.call()
            agent.stop()
    assert server.records
    sent: list[dict[str, Any]] = [dict(one) for one in server.metadata]
    assert {(one["authorization"], one["x-tenant"]) for one in sent} == {("Bearer abc", "shop")}
