"""A Collector between natlens and a store: metrics go on by remote write, logs and spans into files."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from natlens.otlp.request import Request, Signal
from tests.collector.ports import free_port
from tests.collector.process import Collector
from tests.delivery.clients import HttpAnswer, post
from tests.stores.store import get, patient, samples

__all__ = ["Gateway"]

PATHS: dict[Signal, str] = {"metrics": "/v1/metrics", "logs": "/v1/logs", "traces": "/v1/traces"}

SETTLE_S = 120.0
POLL_S = 0.1


class Gateway(Collector):
    """A Collector with a pipeline a signal; as it is configured by default, but without a wait for batches.

    Args:
        binary: what ``tests.collector.build`` built.
        directory: where its configuration, log and files go.
        write_url: where metrics are written to.
        delta: whether ``delta_to_cumulative`` comes before that.
    """

    def __init__(self, binary: Path, directory: Path, write_url: str, *, delta: bool = False) -> None:
        super().__init__(binary, directory, transport="http")
        self._write_url = write_url
        self._delta = delta
        self._traces: list[Path] = []
        self._own_port = free_port(self.host, other_than=self.port)
        self._points = 0

    def export(self, request: Request) -> HttpAnswer:
        """Send it a request of any signal."""
        self._points += request.records if request.signal == "metrics" else 0
        with closing(patient(self.url)) as connection:
            return post(connection, request.data, path=PATHS[request.signal])

    def settle(self) -> None:
        """Wait until it has written every point; raises CollectorError where it could not."""
        deadline = time.monotonic() + SETTLE_S
        while (written := self._told("sent")) < self._points:
            if self._told("send_failed"):
                raise self._error("the Collector could not write everything")
            if time.monotonic() > deadline:
                raise self._error(f"{written:.0f} of {self._points} points are written after {SETTLE_S:g} s")
            time.sleep(POLL_S)

    def _told(self, what: str) -> float:
        """Return how many points its exporter has ``sent``, or ``send_failed``."""
        page = get(f"http://{self.host}:{self._own_port}", "/metrics").body.decode()
        return sum(one.value for one in samples(page, f"otelcol_exporter_{what}_metric_points_total"))

    def rows(self) -> list[dict[str, Any]]:
        """Return every log record as OTLP/JSON has it."""
        return list(_inner([life.path for life in self._lives], "resourceLogs", "scopeLogs", "logRecords"))

    def spans(self) -> list[dict[str, Any]]:
        """Return every span as OTLP/JSON has it."""
        return list(_inner(self._traces, "resourceSpans", "scopeSpans", "spans"))

    def _configuration(self, output: Path) -> dict[str, Any]:
        made = super()._configuration(output)
        traces = output.with_name(f"spans-{len(self._traces)}.json")
        self._traces.append(traces)
        processors: dict[str, Any] = {"delta_to_cumulative": {}} if self._delta else {}
        made["processors"] = processors
        made["exporters"]["file/traces"] = {**made["exporters"]["file"], "path": str(traces)}
        made["exporters"]["prometheus_remote_write"] = {
            "http": {"endpoint": self._write_url, "tls": {"insecure": True}},
            "timeout": "60s",  # tests share a machine
        }
        reader = {"pull": {"exporter": {"prometheus": {"host": self.host, "port": self._own_port}}}}
        made["service"]["telemetry"] = {"metrics": {"level": "normal", "readers": [reader]}}
        made["service"]["pipelines"] |= {
            "metrics": {
                "receivers": ["otlp"],
                "processors": list(processors),
                "exporters": ["prometheus_remote_write"],
            },
            "traces": {"receivers": ["otlp"], "exporters": ["file/traces"]},
        }
        return made


def _inner(paths: list[Path], *levels: str) -> Iterator[dict[str, Any]]:
    for path in paths:
        for line in path.read_text().splitlines() if path.exists() else ():
            found = [json.loads(line)]
            for level in levels:
                found = [inner for outer in found for inner in outer.get(level, ())]
            yield from found
