"""The page /metrics: the SDK's instruments in Prometheus' text format.

Import it with the first scrape: what it needs takes memory that probes alone do not.
"""

import threading
from collections.abc import Callable
from http import HTTPStatus

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from natlens.telemetry.meters import provide
from natlens.telemetry.reading import Points
from natlens.telemetry.server import Answer

__all__ = ["Scrape"]


class Scrape:
    """A page; ``attributes`` are the resource's, told as ``target_info``."""

    def __init__(self, read: Callable[[], Points], attributes: dict[str, str]) -> None:
        self._lock = threading.Lock()  # the reader queues what each collection found: two at once would tell all twice
        self._registry = CollectorRegistry()
        reader = PrometheusMetricReader(scope_info_enabled=False, registry=self._registry)
        self._provider = provide(reader, read, Resource(dict(attributes)))

    def __call__(self) -> Answer:
        """Collect and write."""
        with self._lock:
            return Answer(HTTPStatus.OK, generate_latest(self._registry), CONTENT_TYPE_LATEST)
