"""Health as points of metrics: one moment, all metrics."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from natlens.errors import NatlensError
from natlens.health import Health, Key
from natlens.telemetry.row import Metric, Source
from natlens.telemetry.table import METRICS, find

__all__ = ["Attributes", "Points", "Reader", "points"]

log = logging.getLogger(__name__)

Attributes = tuple[tuple[str, str], ...]
"""Of one point, ordered by name."""
Points = dict[str, dict[Attributes, float]]
"""Metric's name → attributes → value."""
Reader = Callable[[], Mapping[Key, float]]
"""Whoever knows more than Health when asked: the process, the kernel's account. Raises OSError or NatlensError."""

found_by = lru_cache(maxsize=4096)(find)


def points(health: Health, readers: Sequence[Reader] = (), now_s: Callable[[], float] = time.time) -> Points:
    """Return every metric's points; values that share their attributes are summed. Metrics without any are left out.

    ``now_s`` tells Unix time (s). A reader that fails is left out, this time.
    """
    values = health.values()
    for reader in readers:
        try:
            values.update(reader())
        except (OSError, NatlensError) as error:
            log.warning("some of natlens' own metrics are missing: %s", error)
    told: defaultdict[str, defaultdict[Attributes, float]] = defaultdict(lambda: defaultdict(float))
    for name, attributes in _known():
        told[name][attributes] = 0
    unix_s = now_s()
    for (name, of), value in values.items():
        if (found := found_by(name)) is not None:
            metric, source, rest = found
            number = max(unix_s - value, 0.0) if source.age else value * source.scale
            told[metric.name][_attributes(source, of, rest)] += number
    return {name: dict(of_metric) for name, of_metric in told.items()}


@lru_cache(maxsize=1)
def _known() -> tuple[tuple[str, Attributes], ...]:
    """Return the series that are there from the start: an alert on what goes up must have seen it at 0."""
    return tuple(
        (metric.name, _attributes(source, tuple(known.items()), ""))
        for metric in METRICS
        for source in metric.sources
        for known in source.known or (({},) if _plain(metric, source) else ())
    )


def _plain(metric: Metric, source: Source) -> bool:
    return metric.instrument == "counter" and not (source.rename or source.rest or source.fixed)


def _attributes(source: Source, of: tuple[tuple[str, str], ...], rest: str) -> Attributes:
    named = {source.rename.get(name, name): value for name, value in of} | dict(source.fixed)
    if source.rest and rest:
        named[source.rest] = rest
    return tuple(sorted(named.items()))
