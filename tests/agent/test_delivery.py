"""The real agent over HTTP with TLS and zstd: the Collector wrote what is in the agent's output, also where it died."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.process import Agent, wait_until
from tests.agent.shop import Shop, told
from tests.collector.process import Collector
from tests.collector.records import LogRecord
from tests.collector.tls import Authority

DEATHS = 2


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


@pytest.fixture
def collector(collector_binary: Path, tmp_path: Path, shop: Shop, authority: Authority) -> Iterator[Collector]:
    """A Collector on the node's loopback, not started; whatever it acknowledged is in its file."""
    made = Collector(
        collector_binary,
        tmp_path / "collector",
        netns=shop.namespace.name,
        transport="http",
        tls=authority.server(),
        buffered=False,
    )
    yield made
    made.stop()


def texts(records: list[LogRecord]) -> list[str]:
    """Return the records as texts, in which 1, 1.0 and True differ."""
    return [repr(record) for record in records]


def counters(agent: Agent) -> dict[str, int]:
    """Return what the agent's last line says."""
    assert "stopped: " in agent.said[-1], agent.said
    return {name: int(value) for name, value in re.findall(r"(\S+)=(\d+)(?: |$)", agent.said[-1])}


def total(counted: dict[str, int], name: str) -> int:
    return sum(value for key, value in counted.items() if key.partition("{")[0] == name)


def check_account(agent: Agent) -> None:
    """Hold the agent's last line against its output: each record went there and to the Collector."""
    counted = counters(agent)
    n_records = 2 * len(agent.records())
    assert {name: value for name, value in counted.items() if name.startswith("records_") and value} == {
        "records_captured": n_records,
        "records_exported": n_records,
    }
    assert counted["records_pending"] == 0


def test_what_the_collector_wrote_is_what_the_output_says(
    shop: Shop, collector: Collector, authority: Authority, tmp_path: Path
) -> None:
    options = "--protocol=http/protobuf", "--compression=zstd", f"--ca-file={authority.ca}", "--requests-in-flight=1"
    named = f"--endpoint={collector.url}", shop.identity_file(tmp_path)
    collector.start()
    with Agent(shop.namespace, tmp_path / "sent.jsonl", "--interval=0.3", *options, *named).started() as agent:
        made = list(shop.calls())
        agent.stop()
    collector.stop()
    assert {told(one["attributes"]) for one in agent.records()} >= {expected.original for expected in made}
    assert texts(collector.records()) == texts(agent.records())
    check_account(agent)
    assert total(counters(agent), "export_retries") == 0


def test_collector_that_dies_in_mid_run_has_everything_in_the_end(
    shop: Shop, collector: Collector, authority: Authority, tmp_path: Path
) -> None:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "zstd",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority.ca),
    }
    collector.start()
    output = tmp_path / "sent.jsonl"
    with Agent(shop.namespace, output, "--interval=0.2", environment=variables).started() as agent:
        ports = [port for _ in range(DEATHS) for port in around_a_death(shop, agent, collector)]
        agent.stop()
    collector.stop()
    assert {told(one["attributes"]).sport for one in agent.records()} >= set(ports)
    check_account(agent)
    retries = total(counters(agent), "export_retries")
    assert retries >= 1
    arrived, sent = Counter(texts(collector.records())), Counter(texts(agent.records()))
    assert set(sent.values()) == {1}
    assert arrived.keys() == sent.keys()
    assert max(arrived.values()) <= 1 + retries


def around_a_death(shop: Shop, agent: Agent, collector: Collector) -> list[int]:
    """Call before and after the Collector is killed; it comes back once it missed something. Returns the ports."""
    ports = [shop.call()]
    wait_until(lambda: ports[0] in called(collector.records()), "the Collector has the first call")
    ports.append(shop.call())
    collector.kill()
    ports.append(shop.call())
    wait_until(lambda: ports[-1] in called(agent.records()), "what happens while it is dead is in the output")
    agent.wait_for("retrying")
    collector.start()
    return ports


def called(records: list[LogRecord]) -> set[int]:
    return {told(record["attributes"]).sport for record in records}
