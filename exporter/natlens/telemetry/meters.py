"""Instruments of the OpenTelemetry SDK over the table: one observable for each metric.

Import it where something is collected: the SDK's metrics take 1.1 MiB.
"""

from collections.abc import Callable, Iterable, Iterator

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource

from natlens import __version__
from natlens.otlp.record import SCHEMA_URL
from natlens.telemetry.reading import Points
from natlens.telemetry.row import Metric
from natlens.telemetry.table import METRICS

__all__ = ["SCOPE", "provide"]

SCOPE = "natlens.telemetry"


def provide(reader: MetricReader, read: Callable[[], Points], resource: Resource | None = None) -> MeterProvider:
    """Return a provider whose instruments ``reader`` collects; ``read`` is called once a collection.

    Every metric of a collection is of the same moment, so that they add up.
    """
    provider = MeterProvider([reader], resource or Resource({}), shutdown_on_exit=False)
    meter = provider.get_meter(SCOPE, __version__, SCHEMA_URL)
    told = _Told(read)
    for number, metric in enumerate(METRICS):
        _instrument(meter, metric, told.callback(metric, begins=number == 0))
    return provider


class _Told:
    """The points of the collection that goes on: the SDK asks in the order of the instruments, one reader at a time."""

    def __init__(self, read: Callable[[], Points]) -> None:
        self._read = read
        self._points: Points = {}

    def callback(self, metric: Metric, *, begins: bool) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            if begins:
                self._points = self._read()
            for attributes, value in self._points.get(metric.name, {}).items():
                yield Observation(_number(metric, value), dict(attributes))

        return observe


def _number(metric: Metric, value: float) -> float:
    """Return whole numbers of what is counted as such."""
    return value if metric.unit == "s" else round(value)


def _instrument(meter: Meter, metric: Metric, callback: Callable[[CallbackOptions], Iterable[Observation]]) -> None:
    create = {
        "counter": meter.create_observable_counter,
        "updown": meter.create_observable_up_down_counter,
        "gauge": meter.create_observable_gauge,
    }[metric.instrument]
    create(metric.name, [callback], unit=metric.unit, description=metric.brief)
