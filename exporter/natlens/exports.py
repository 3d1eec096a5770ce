"""What becomes of named connections: log records, sums, spans; each goes to the outlets of its signal."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from natlens.config import Options
from natlens.delivery.outlet import Outlet
from natlens.health import Health
from natlens.otlp.batch import Batch
from natlens.otlp.encoder import Encoder
from natlens.otlp.metrics.encode import MetricsEncoder
from natlens.otlp.metrics.series import Metrics, streams
from natlens.otlp.metrics.settings import MetricSettings
from natlens.otlp.request import Request, Signal
from natlens.otlp.resource import INSTANCE, Observer, resource
from natlens.otlp.spans.encode import SpanEncoder
from natlens.otlp.spans.segments import Spans
from natlens.telemetry.agent import Telemetry

__all__ = ["Exports", "Outlets"]

SECOND = 1_000_000_000
TALLIES = "added", "overflowed", "excluded", "secondary"

Outlets = Mapping[Signal, Sequence[Outlet]]
"""Where the requests of each signal go; what goes nowhere is not made."""


class Exports:
    """Encodes what the pipeline has named, of one observer at a time, and hands it over.

    Args:
        options: of the agent.
        metrics: what sums are made of.
        outlets: where they go.
        health: takes what became of connections.
        began_ns: since when this agent counts, Unix time.
        telemetry: of the agent itself: told what is known of the observer, finished before the outlets are flushed.
    """

    def __init__(
        self,
        options: Options,
        metrics: MetricSettings,
        outlets: Outlets,
        health: Health,
        began_ns: int,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._options, self._settings, self._outlets, self._health = options, metrics, outlets, health
        self._spans = Spans(options.span_ratio, int(options.span_max_age * SECOND))
        self._telemetry = telemetry
        self._told: Mapping[str, str] = {}
        self._begin(began_ns)

    def _begin(self, began_ns: int) -> None:
        """Begin as an observer of whom this much is known."""
        options, wanted = self._options, {signal for signal, outlets in self._outlets.items() if outlets}
        known: dict[str, Any] = {"node_name": options.node_name, "cluster_name": options.cluster_name, **self._told}
        self.resource: Resource = resource(Observer.here(**known))
        self._node = next((one.value.string_value for one in self.resource.attributes if one.key == INSTANCE), "")
        self._records = Encoder(self.resource) if "logs" in wanted else None
        self._segments = SpanEncoder(self.resource) if "traces" in wanted else None
        self._metrics = Metrics(self._settings, began_ns) if "metrics" in wanted else None
        self._points = MetricsEncoder(self.resource)
        self._tallied: dict[str, int] = {}

    def tell(self, known: Mapping[str, str], now_ns: int) -> None:
        """Take what is known of the node: fields of Observer.

        Another resource is another series to every store: sums begin anew, when the last ones were sent.
        """
        if known == self._told:
            return
        self.collect(now_ns)
        self._told = known
        self._begin(now_ns)
        if self._telemetry:
            self._telemetry.tell(self.resource)

    def put(self, batch: Batch) -> None:
        """Make of a batch what it becomes at once, and add it to the sums."""
        ended = None
        if self._segments:
            batch, ended = self._spans.of(batch, self._node)
        if self._records:
            self._send(self._records.requests(batch))
        if self._segments and ended:
            self._send(self._segments.requests(ended))
        if self._metrics:
            self._metrics.add(batch)

    def collect(self, now_ns: int) -> None:
        """Send the sums as of ``now_ns`` (Unix time)."""
        if self._metrics is None:
            return
        if collection := self._metrics.collect(now_ns):
            self._send(self._points.requests(collection))
        self._health.set("series_points", self._metrics.live * streams())
        tallies = {name: getattr(self._metrics, name) for name in TALLIES}
        for name, value in tallies.items():
            self._health.add(f"series_{name}", value - self._tallied.get(name, 0))
        self._tallied = tallies

    def flush(self, deadline: float) -> None:
        """Deliver what is pending until ``deadline`` (monotonic, s), of all outlets at the same time."""
        if self._telemetry:
            self._telemetry.finish()
        outlets = {id(one): one for of_signal in self._outlets.values() for one in of_signal}
        if outlets:
            with ThreadPoolExecutor(len(outlets)) as beside:
                list(beside.map(lambda outlet: outlet.flush(deadline), outlets.values()))

    def _send(self, requests: Iterable[Request]) -> None:
        for request in requests:
            for outlet in self._outlets[request.signal]:
                outlet.send(request)
