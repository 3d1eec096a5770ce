"""natlens' own telemetry as a whole: to a real receiver, to a real scrape; what hangs delays nothing."""

import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from natlens.config import Options
from natlens.errors import ConfigError
from natlens.health import Health, Key
from natlens.otlp.metrics.collection import Temporality
from natlens.otlp.request import Request
from natlens.otlp.resource import Observer, resource
from natlens.telemetry.agent import Telemetry
from natlens.telemetry.listen import Place, take
from natlens.telemetry.table import METRICS
from tests.delivery.account import eventually
from tests.delivery.sending import receiver, sender_to
from tests.delivery.server import Ok
from tests.telemetry.asking import ask

OBSERVER = resource(Observer(host_name="node-1", host_id="7" * 32))
KNOWN = resource(Observer(host_name="node-1", host_id="7" * 32, node_name="node-1", node_uid="u-1"))


class Kept:
    """An outlet that keeps what it is sent."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self.requests: list[Request] = []
        self._before = before

    def send(self, request: Request) -> None:
        self._before()
        self.requests.append(request)

    def flush(self, deadline: float) -> None:
        pass

    def close(self) -> None:
        pass


def options(**given: Any) -> Options:
    return Options(**{"telemetry_interval": 3600.0, **given})


def sums(request: bytes) -> dict[str, float]:
    """Return each metric's sum over its points."""
    (of_resource,) = ExportMetricsServiceRequest.FromString(request).resource_metrics
    return {
        metric.name: sum(
            point.as_int + point.as_double for of in (metric.sum, metric.gauge) for point in of.data_points
        )
        for scope in of_resource.scope_metrics
        for metric in scope.metrics
    }


def attributes(request: bytes) -> dict[str, str]:
    (of_resource,) = ExportMetricsServiceRequest.FromString(request).resource_metrics
    return {one.key: one.value.string_value for one in of_resource.resource.attributes}


def free_port() -> int:
    with take(Place("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_real_receiver_gets_what_health_has(protocol: str) -> None:
    health = Health()
    health.add("kernel_unparsed_header", 7)
    telemetry = Telemetry.open(options(), health)
    with receiver(protocol) as server, sender_to(server.url, health, protocol, signal="metrics") as sender:
        telemetry.start(sender, OBSERVER)
        telemetry.finish()
        sender.flush(time.monotonic() + 5)
        (request,) = server.taken_of("metrics")
    told = sums(request)
    assert told["natlens.capture.unparsed"] == 7
    assert told["process.cpu.time"] > 0
    assert 10 < told["process.memory.usage"] / 2**20 < 2000
    assert health.count("points_captured") == health.count("points_exported") > 50
    telemetry.close()


def test_interval_goes_by_itself_and_the_resource_is_the_one_of_now() -> None:
    health, outlet = Health(), Kept()
    telemetry = Telemetry.open(options(telemetry_interval=1.0), health)
    telemetry.start(outlet, OBSERVER)
    eventually(lambda: len(outlet.requests) == 1)
    telemetry.tell(KNOWN)
    eventually(lambda: len(outlet.requests) == 2)
    telemetry.close()
    first, second, *_ = (attributes(one.data) for one in outlet.requests)
    assert first["service.name"] == second["service.name"] == "natlens-agent"
    assert "k8s.node.uid" not in first
    assert second["k8s.node.uid"] == "u-1"
    assert (
        second["service.instance.id"]
        == {one.key: one.value.string_value for one in KNOWN.attributes}["service.instance.id"]
    )


def test_points_are_counted_as_they_are() -> None:
    outlet = Kept()
    telemetry = Telemetry.open(options(), Health())
    telemetry.start(outlet, OBSERVER)
    telemetry.close()
    (request,) = outlet.requests
    assert request.signal == "metrics"
    (of_resource,) = ExportMetricsServiceRequest.FromString(request.data).resource_metrics
    (scope,) = of_resource.scope_metrics
    assert request.records == sum(len(one.sum.data_points) + len(one.gauge.data_points) for one in scope.metrics) > 50


@pytest.mark.parametrize(
    ("temporality", "expected"),
    [
        ("cumulative", AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE),
        ("delta", AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA),
    ],
)
def test_counters_have_the_temporality_that_is_asked_for(temporality: Temporality, expected: int) -> None:
    outlet = Kept()
    telemetry = Telemetry.open(options(), Health())
    telemetry.start(outlet, OBSERVER, temporality=temporality)
    telemetry.close()
    (of_resource,) = ExportMetricsServiceRequest.FromString(outlet.requests[0].data).resource_metrics
    kinds = {
        metric.sum.aggregation_temporality
        for metric in of_resource.scope_metrics[0].metrics
        if metric.HasField("sum") and metric.sum.is_monotonic
    }
    assert kinds == {expected}


def test_off_or_nowhere_means_nothing() -> None:
    threads = set(threading.enumerate())
    outlet = Kept()
    for telemetry, to in (
        (Telemetry.open(options(telemetry="off"), Health()), outlet),
        (Telemetry.open(options(), Health()), None),
    ):
        telemetry.start(to, OBSERVER)
        assert set(threading.enumerate()) == threads
        telemetry.close()
    assert outlet.requests == []


def test_outlet_that_hangs_delays_neither_the_end_nor_a_scrape() -> None:
    port, hangs, over = free_port(), threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        over.wait(60)

    telemetry = Telemetry.open(options(telemetry_interval=1.0, listen=f"127.0.0.1:{port}"), Health())
    telemetry.start(Kept(hang), OBSERVER)
    assert hangs.wait(10)
    begin = time.monotonic()
    assert ask(port, "/metrics").status == 200
    telemetry.close()
    assert time.monotonic() - begin < 3
    over.set()


def test_receiver_that_hangs_delays_nothing() -> None:
    health = Health()
    telemetry = Telemetry.open(options(telemetry_interval=1.0), health)
    hangs = receiver("grpc", [Ok(delay_s=60)] * 9)
    with hangs as server, sender_to(server.url, health, "grpc", signal="metrics") as sender:
        telemetry.start(sender, OBSERVER)
        eventually(lambda: len(server.attempts) > 0)
        begin = time.monotonic()
        telemetry.close()
        assert time.monotonic() - begin < 2
    assert health.count("points_captured") == health.count("points_dropped", reason="shutdown")


def test_scrape_tells_the_same_under_the_names_of_the_rules() -> None:
    port, health = free_port(), Health()
    health.add("records_dropped", 3, reason="queue_full")
    health.add("kernel_dropped_rows_full_octets", 9000)
    telemetry = Telemetry.open(options(listen=f"127.0.0.1:{port}"), health)
    try:
        said = ask(port, "/metrics")
        assert said.headers["Content-Type"].startswith("text/plain; version=")
        assert 'otel_sdk_exporter_log_exported_total{error_type="queue_full"} 3.0' in said.text
        assert 'natlens_capture_lost_io_bytes_total{error_type="full"} 9000.0' in said.text
        telemetry.start(None, KNOWN, [lambda: {_key("map_capacity", "map", "rows"): 1024}])
        text = ask(port, "/metrics").text
        assert 'natlens_map_capacity{natlens_map_name="rows"} 1024.0' in text
        assert re.search(r'^target_info\{.*k8s_node_uid="u-1".*service_name="natlens-agent"', text, re.MULTILINE)
        named = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)) - {"target_info"}
        assert named <= {metric.prometheus for metric in METRICS}
        health.add("records_dropped", 4, reason="queue_full")
        assert 'otel_sdk_exporter_log_exported_total{error_type="queue_full"} 7.0' in ask(port, "/metrics").text
    finally:
        telemetry.close()


def _key(name: str, attribute: str, value: str) -> Key:
    return name, ((attribute, value),)


def test_scrapes_at_once_each_tell_everything_once() -> None:
    port = free_port()
    telemetry = Telemetry.open(options(listen=f"127.0.0.1:{port}"), Health())
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.append(ask(port, "/metrics").text)) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    telemetry.close()
    assert [len(re.findall(r"^process_uptime_seconds ", text, re.MULTILINE)) for text in texts] == [1] * 6


def test_probes_follow_health() -> None:
    port, health = free_port(), Health()
    telemetry = Telemetry.open(options(listen=f":{port}"), health)
    assert (ask(port, "/healthz").status, ask(port, "/readyz").status) == (200, 503)
    health.set("capturing", 1)
    health.set("names_ready", 1)
    health.mark("window")
    assert (ask(port, "/healthz").status, ask(port, "/readyz").status) == (200, 200)
    telemetry.close()


def test_mistakes_and_ports_in_use_are_told_before_anything_is_attached() -> None:
    with pytest.raises(ConfigError, match="listen='9464' is not an address and a port"):
        Telemetry.open(options(listen="9464"), Health())
    with take(Place("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is in use"):
            Telemetry.open(options(listen=f"127.0.0.1:{port}"), Health())
