"""The agent's own loop over some 100,000 connections a window: from kernel maps to bytes, and to a real Collector."""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from natlens.config import Options
from natlens.delivery.compression import codec
from natlens.delivery.otlp import open_sender
from natlens.delivery.outlet import Outlet
from natlens.delivery.settings import read_settings
from natlens.exports import Exports
from natlens.health import Health
from natlens.identity.naming import Anonymous
from natlens.kernel.capture import Capture
from natlens.otlp.metrics.settings import metric_settings
from natlens.otlp.request import Request
from natlens.pipeline import Pipeline
from tests.bench.figure import say, tell
from tests.bench.shapes import Cluster
from tests.bench.windows import fill, half_and_half, rows_and_translations
from tests.collector.build import binary
from tests.collector.process import Collector

__all__ = ["exported", "piped"]

ROUNDS = 5
Transport = Literal["grpc", "http"]


class _Compressing:
    """An outlet that ends where bytes would be sent."""

    def __init__(self) -> None:
        self._compress = codec("zstd").compress
        self.records = 0

    def send(self, request: Request) -> None:
        self._compress(request.data)
        self.records += request.records

    def flush(self, deadline: float) -> None:
        pass

    def close(self) -> None:
        pass


class _Names(Cluster, Anonymous):
    """The cluster's names, and nothing else is known."""


def _exports(options: Options, outlet: Outlet, health: Health) -> Exports:
    return Exports(options, metric_settings(options, {}), {"logs": [outlet]}, health, time.time_ns())


class _Rounds:
    """A pipeline that is attached to nothing, whose maps are filled before each window."""

    def __init__(self, outlet: Outlet, health: Health) -> None:
        options = Options(window_rows=1 << 18, window_translations=1 << 16)
        self._capture = Capture(options, health)
        self._names = _Names()
        self._connections = half_and_half(self._names)
        self._pipeline = Pipeline(options, self._capture, self._names, _exports(options, outlet, health), health)

    def report(self) -> None:
        self._pipeline.report()

    def fill(self) -> None:
        windows = self._capture._windows
        rows, translations = rows_and_translations(self._connections, time.monotonic_ns())
        fill(windows._fds["rows"][windows._active], rows)
        fill(windows._fds["translations"][windows._active], translations)

    def close(self) -> None:
        self._pipeline.close()
        self._capture.close()


@contextmanager
def _rounds(outlet: Outlet, health: Health) -> Iterator[_Rounds]:
    rounds = _Rounds(outlet, health)
    try:
        yield rounds
    finally:
        rounds.close()


def piped() -> None:
    """Kernel map → joined, named, encoded, zstd-1; half plain, half full."""
    tell("from kernel maps to bytes")
    outlet, rates = _Compressing(), []
    with _rounds(outlet, Health()) as rounds:
        for _ in range(ROUNDS):
            rounds.fill()
            begin = time.perf_counter()
            before = outlet.records
            rounds.report()
            rates.append((outlet.records - before) / (time.perf_counter() - begin))
    say("pipeline_records_per_s", statistics.median(rates), "1/s")


def exported() -> None:
    """The same, to a local Collector that forgets what it gets: until it has answered every request."""
    transports: tuple[Transport, ...] = "grpc", "http"
    for transport in transports:
        tell(f"to a Collector over {transport}")
        with (
            tempfile.TemporaryDirectory() as directory,
            Collector(binary(), Path(directory), transport=transport, writes="nothing") as collector,
        ):
            say(f"export_records_per_s_{transport}", _exported(collector.url, transport), "1/s")


def _exported(url: str, transport: Transport) -> float:
    health, rates = Health(), []
    options = Options(endpoint=url, protocol="grpc" if transport == "grpc" else "http/protobuf")
    settings = read_settings(options, {})
    if settings is None:
        raise RuntimeError("an endpoint is given")
    sender = open_sender(settings, health, queue_bytes=options.queue_bytes)
    with _rounds(sender, health) as rounds:
        for _ in range(ROUNDS):
            rounds.fill()
            before, begin = health.count("records_exported"), time.perf_counter()
            rounds.report()
            while health.count("records_exported") < health.count("records_captured"):
                time.sleep(0.001)
            rates.append((health.count("records_exported") - before) / (time.perf_counter() - begin))
    sender.close()
    return statistics.median(rates)
