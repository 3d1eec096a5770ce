"""The ways by which metrics come to a store."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from natlens.otlp.metrics.collection import Temporality
from natlens.otlp.request import Request
from tests.stores.build import Binaries
from tests.stores.gateway import Gateway
from tests.stores.prometheus import Prometheus
from tests.stores.store import Store
from tests.stores.victoria import VictoriaMetrics

__all__ = ["Kind", "Route"]

Kind = Literal["prometheus", "remote-write", "delta", "victoria-metrics"]


class Route:
    """A store, and for two kinds the Collector before it; as a context manager both run inside the block."""

    def __init__(self, kind: Kind, directory: Path, stores: Binaries, collector: Path) -> None:
        self.store: Store
        self.temporality: Temporality = "delta" if kind == "delta" else "cumulative"
        self._gateway: Gateway | None = None
        if kind == "victoria-metrics":
            self.store = VictoriaMetrics(stores.victoria_metrics, directory / "store")
            return
        self.store = prometheus = Prometheus(stores.prometheus, directory / "store")
        if kind != "prometheus":
            self._gateway = Gateway(collector, directory / "collector", prometheus.write_url, delta=kind == "delta")

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.store)
            if self._gateway is not None:
                stack.enter_context(self._gateway)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send(self, requests: Iterable[Request]) -> None:
        """Send them one after the other; each must be taken whole."""
        for request in requests:
            answer = (self._gateway or self.store).export(request)
            assert answer.status in (200, 204), answer
            told = ExportMetricsServiceResponse.FromString(answer.body).partial_success
            assert (told.rejected_data_points, told.error_message) == (0, "")

    def settle(self) -> None:
        """Wait until everything that was sent can be asked for, and hold that nothing was refused on the way."""
        if self._gateway is not None:
            self._gateway.settle()
        self.store.settle()
        refused = self.store.refused()
        assert refused == {}, refused
