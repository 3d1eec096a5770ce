"""The agent itself: real calls through real NAT, through a Collector into Prometheus, and as spans."""

import time
from pathlib import Path
from typing import Any

from tests.agent.process import Agent, wait_until
from tests.agent.shop import Shop
from tests.stores.build import Binaries
from tests.stores.gateway import Gateway
from tests.stores.prometheus import Prometheus
from tests.stores.store import valued

CALLS = 20
SECOND = 10**9
NEW = 'sum by (destination_k8s_service_name, flow_responder_k8s_pod_name) (flow_connection_count_total{job="natlens"})'
OCTETS = 'sum(flow_io_bytes_total{job="natlens",destination_k8s_service_name="web"})'
OWN = 'natlens_series_records_added_total{job="natlens-agent"}'


def attributes(of: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in of["attributes"]}


def to_web(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [told for one in found if (told := attributes(one)).get("destination.k8s.service.name") == "web"]


def octets(of: dict[str, Any]) -> int:
    return int(of["flow.bytes.delta"]) + int(of["flow.reverse.bytes.delta"])


def test_logs_metrics_and_spans_of_the_agent_tell_the_same(
    stores: Binaries, collector_binary: Path, tmp_path: Path
) -> None:
    with (
        Shop() as shop,
        shop.namespace.enter(),  # for whatever is started here, and for what is asked
        Prometheus(stores.prometheus, tmp_path / "prometheus") as prometheus,
        Gateway(collector_binary, tmp_path / "collector", prometheus.write_url) as gateway,
    ):
        options = (
            *("--protocol=http/protobuf", f"--endpoint={gateway.url}", "--signals=logs,metrics,traces"),
            *("--interval=0.5", "--metrics-interval=0.5", "--metrics-attributes=service-backend"),
            *("--telemetry-interval=1", shop.identity_file(tmp_path)),
        )
        with Agent(shop.namespace, tmp_path / "out.jsonl", *options).started() as agent:
            ports = {shop.call() for _ in range(CALLS)}
            wait_until(lambda: len(to_web(gateway.spans())) >= CALLS, "a span of each call")
            agent.stop()
        gateway.stop()
        rows, spans = to_web(gateway.rows()), to_web(gateway.spans())

        assert {int(one["source.port"]) for one in spans} == ports
        assert len(spans) == CALLS
        assert sum(map(octets, rows)) == sum(map(octets, spans))
        now = time.time_ns()
        new = valued(prometheus.instant(NEW, now), "destination_k8s_service_name", "flow_responder_k8s_pod_name")
        assert new["web", "web-1"] == CALLS
        assert prometheus.one(OCTETS, now) == sum(map(octets, rows))
        assert prometheus.one(OWN, now) >= CALLS
        assert prometheus.refused() == {}
