"""natlens' own telemetry as the agent has it: opened before anything is attached, closed when it stops."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from natlens.config import Options
from natlens.delivery.outlet import Outlet
from natlens.health import Health
from natlens.otlp.metrics.collection import Temporality
from natlens.telemetry.identity import agent_resource, attributes_of
from natlens.telemetry.process import read_process
from natlens.telemetry.reading import Points, Reader, points

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider

    from natlens.telemetry.scrape import Scrape
    from natlens.telemetry.server import Answer, Server

__all__ = ["Telemetry"]

STOP_S = 1.0
"""How long the last collection is waited for."""


class Telemetry:
    """What natlens tells of itself, as the options want it: nothing, metrics to an outlet, pages to whoever asks.

    Its threads: one that collects every ``telemetry_interval``, and those of the pages' connections.
    """

    def __init__(self, options: Options, health: Health) -> None:
        self._options, self._health = options, health
        self._readers: Sequence[Reader] = (read_process,)
        self._resource = Resource()
        self._provider: MeterProvider | None = None
        self._scrape: Scrape | None = None
        self._lock = threading.Lock()
        self._server: Server | None = None

    @classmethod
    def open(cls, options: Options, health: Health) -> Self:
        """Return it, listening already if ``listen`` says so; raises ConfigError where that cannot be."""
        one = cls(options, health)
        if options.listen:
            from natlens.telemetry.listen import parse_listen, take  # the standard library's HTTP server: 2 MiB
            from natlens.telemetry.server import Server
            from natlens.telemetry.vitals import Vitals

            vitals = Vitals(health, options.interval)
            pages = {"/metrics": one._metrics, "/healthz": vitals.alive, "/readyz": vitals.ready}
            one._server = Server(take(parse_listen(options.listen)), pages, health)
        return one

    @property
    def wants_outlet(self) -> bool:
        """Whether metrics are to be sent."""
        return self._options.telemetry == "on"

    def start(
        self,
        outlet: Outlet | None,
        resource: Resource,
        readers: Sequence[Reader] = (),
        temporality: Temporality = "cumulative",
    ) -> None:
        """Begin to collect: for ``outlet`` (None: only for /metrics), of Health and of what ``readers`` know beside it.

        ``resource`` is that of the records; :meth:`tell` changes it.
        """
        self.tell(resource)
        self._readers = (read_process, *readers)
        if outlet is None or not self.wants_outlet:
            return
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        from natlens.telemetry.exporter import OutletExporter
        from natlens.telemetry.meters import provide

        interval_ms = self._options.telemetry_interval * 1000
        exporter = OutletExporter(outlet, lambda: self._resource, temporality)
        self._provider = provide(PeriodicExportingMetricReader(exporter, interval_ms), self.read)

    def tell(self, resource: Resource) -> None:
        """Take that the records' resource is another one now."""
        with self._lock:
            self._resource, self._scrape = agent_resource(resource), None

    def read(self) -> Points:
        """Return every metric's points now."""
        return points(self._health, self._readers)

    def finish(self) -> None:
        """Hand the last points to the outlet, before it is flushed; read nothing of the kernel any more."""
        provider, self._provider = self._provider, None
        if provider:
            provider.shutdown(timeout_millis=STOP_S * 1000)
        self._readers = (read_process,)

    def close(self) -> None:
        """Stop listening and collecting."""
        self.finish()
        server, self._server = self._server, None
        if server:
            server.close()

    def _metrics(self) -> "Answer":
        from natlens.telemetry.scrape import Scrape  # the SDK's metrics, prometheus_client

        with self._lock:
            page = self._scrape = self._scrape or Scrape(self.read, attributes_of(self._resource))
        return page()
