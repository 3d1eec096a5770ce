"""natlens' own metrics in a Prometheus: they have the names that the alert rules ask for."""

import math
import time

from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from natlens.health import Health
from natlens.otlp.request import Request
from natlens.telemetry.exporter import OutletExporter
from natlens.telemetry.identity import agent_resource
from natlens.telemetry.meters import provide
from natlens.telemetry.reading import points
from natlens.telemetry.row import prometheus_label
from natlens.telemetry.table import METRICS
from tests.stores.points import node
from tests.stores.prometheus import Prometheus


class Kept:
    """An outlet that keeps what it is given."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def send(self, request: Request) -> None:
        self.requests.append(request)

    def flush(self, deadline: float) -> None:
        pass

    def close(self) -> None:
        pass


def everything() -> Health:
    """Return a Health with something of every source."""
    health = Health()
    for metric in METRICS:
        for source in metric.sources:
            health.add(source.name.replace("*", "x"), 3, **dict.fromkeys(source.rename, "v"))
    return health


def test_prometheus_has_every_metric_by_the_name_that_rules_use(prometheus: Prometheus) -> None:
    health, kept, since_ns = everything(), Kept(), time.time_ns()
    of = agent_resource(node())
    reader = PeriodicExportingMetricReader(OutletExporter(kept, lambda: of), math.inf)
    provider = provide(reader, lambda: points(health))
    provider.force_flush()
    provider.shutdown()
    for request in kept.requests:
        assert prometheus.export(request).status == 200

    found = prometheus.series('{job="natlens-agent"}', since_ns, time.time_ns())
    assert {labels["__name__"] for labels in found} - {"target_info"} == {metric.prometheus for metric in METRICS}
    renamed = {name for metric in METRICS for source in metric.sources for name in source.rename.values()}
    assert {prometheus_label(name) for name in renamed} <= {name for labels in found for name in labels}
