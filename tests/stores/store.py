"""A store of metrics as a process: what it is sent by OTLP, what it answers, and what it refused."""

import http.client
import json
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self
from urllib.parse import urlencode

from prometheus_client.parser import text_string_to_metric_families

from natlens.otlp.request import Request
from tests.collector.daemon import START_SECONDS, Daemon, DaemonError
from tests.collector.ports import free_port
from tests.collector.records import LogRecord
from tests.delivery.clients import HttpAnswer, connect, post

__all__ = ["Labels", "Sample", "Store", "get", "patient", "samples", "valued"]

HOST = "127.0.0.1"
POLL_SECONDS = 0.05
TIMEOUT_S = 120.0

Labels = Mapping[str, str]


class Sample(NamedTuple):
    """One element of an instant vector."""

    labels: Labels
    value: float


class Store(Daemon):
    """A store that listens on one port for everything; as a context manager it runs inside the block.

    Times are Unix nanoseconds, as in OTLP.
    """

    metrics_path: ClassVar[str]
    ready_path: ClassVar[str]

    def __init__(self, directory: Path) -> None:
        self.port = free_port(HOST)
        self.url = f"http://{HOST}:{self.port}"
        super().__init__(directory, HOST, (self.port,))

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        super().start()
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if time.monotonic() > deadline:
                self.stop()
                raise self._error(f"{self.name} is not ready after {START_SECONDS:g} s")
            time.sleep(POLL_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def export(self, request: Request) -> HttpAnswer:
        """Send it a request of metrics."""
        with closing(patient(self.url)) as connection:
            return post(connection, request.data, path=self.metrics_path)

    def settle(self) -> None:
        """Return once everything that it acknowledged can be asked for."""

    @abstractmethod
    def refused(self) -> dict[str, float]:
        """Return its own counters that tell of anything it did not take, those that are not 0."""

    def instant(self, query: str, at_ns: int) -> list[Sample]:
        """Return the vector that a query has at a time."""
        found = self._ask("query", query=query, time=f"{at_ns / 1e9:.3f}")["result"]
        return [Sample(one["metric"], float(one["value"][1])) for one in found]

    def one(self, query: str, at_ns: int) -> float:
        """Return the value of a query that has one element."""
        (sample,) = self.instant(query, at_ns)
        return sample.value

    def over(self, query: str, start_ns: int, end_ns: int, step_s: float) -> list[tuple[Labels, list[float]]]:
        """Return the labels and the values of each series of a query over a range of time."""
        found = self._ask(
            "query_range", query=query, start=f"{start_ns / 1e9:.3f}", end=f"{end_ns / 1e9:.3f}", step=f"{step_s:g}"
        )["result"]
        return [(one["metric"], [float(value) for _, value in one["values"]]) for one in found]

    def series(self, matcher: str, start_ns: int, end_ns: int) -> list[Labels]:
        """Return the labels of every series that matches."""
        limits = {"start": f"{start_ns / 1e9:.3f}", "end": f"{end_ns / 1e9:.3f}"}
        found: list[Labels] = self._ask("series", **{"match[]": matcher}, **limits)
        return found

    def own(self, name: str) -> Iterator[Sample]:
        """Return the samples of one of its own metrics."""
        return samples(self._get("/metrics").body.decode(), name)

    def records(self) -> list[LogRecord]:
        """Return nothing: it takes no logs."""
        return []

    def _ask(self, what: str, **parameters: str) -> Any:
        answer = self._get(f"/api/v1/{what}?{urlencode(parameters)}")
        told = json.loads(answer.body)
        if answer.status != 200 or told["status"] != "success":
            raise DaemonError(f"{self.name} answered {what} {parameters} by {told}")
        return told["data"]

    def _get(self, path: str) -> HttpAnswer:
        return get(self.url, path)

    def _is_ready(self) -> bool:
        try:
            return self._get(self.ready_path).status == 200
        except (OSError, http.client.HTTPException):
            return False


def samples(page: str, name: str) -> Iterator[Sample]:
    """Yield the samples of one metric of a page in Prometheus' format."""
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == name:
                yield Sample(sample.labels, sample.value)


def get(url: str, path: str) -> HttpAnswer:
    """Ask for a path of a server."""
    with closing(patient(url)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return HttpAnswer(answer.status, dict(answer.getheaders()), answer.read())


def patient(url: str) -> http.client.HTTPConnection:
    """Return a connection that waits longer than others: a full request is much to do on a busy machine."""
    connection = connect(url)
    connection.timeout = TIMEOUT_S
    return connection


def valued(samples: Iterable[Sample], *names: str) -> dict[tuple[str, ...], float]:
    """Return the values by some of their labels ("" where there is none); raises ``ValueError`` where two are alike."""
    found: dict[tuple[str, ...], float] = {}
    for labels, value in samples:
        key = tuple(labels.get(name, "") for name in names)
        if key in found:
            raise ValueError(f"two elements have {names} = {key}")
        found[key] = value
    return found
