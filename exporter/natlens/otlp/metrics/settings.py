"""What flow metrics are made of: natlens' options over ``OTEL_*`` variables.

Follows "Metrics Exporters: OTLP" and "Periodic exporting MetricReader" of the OpenTelemetry specification. Where
nothing is said, points are cumulative (what Prometheus needs), histograms explicit, and the interval is 15 s.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from natlens.config import Options
from natlens.errors import ConfigError
from natlens.otlp.metrics.collection import Temporality
from natlens.otlp.metrics.filters import EVERYTHING, Filters, parse_filters
from natlens.otlp.metrics.sets import chosen

__all__ = ["HistogramKind", "MetricSettings", "metric_settings"]

HistogramKind = Literal["explicit", "exponential"]
Meant = TypeVar("Meant", Temporality, HistogramKind)

SECOND, MILLISECOND = 1_000_000_000, 1_000_000
DEFAULT_INTERVAL_NS = 15 * SECOND
SHORTEST_MS, LONGEST_MS = 100, 86_400_000  # as the option

INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
TEMPORALITY = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
HISTOGRAM = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"

# "lowmemory" is delta for synchronous counters and histograms; ours are like those.
TEMPORALITIES: dict[str, Temporality] = {"cumulative": "cumulative", "delta": "delta", "lowmemory": "delta"}
HISTOGRAMS: dict[str, HistogramKind] = {
    "explicit_bucket_histogram": "explicit",
    "base2_exponential_bucket_histogram": "exponential",
}


@dataclass(frozen=True, slots=True)
class MetricSettings:
    """Which connections count, what is told apart, and how it is told."""

    attributes: tuple[str, ...]
    """In the order of :data:`natlens.otlp.metrics.sets.ALLOWED`."""
    filters: Filters = EVERYTHING
    primary_only: bool = True
    interval_ns: int = DEFAULT_INTERVAL_NS
    temporality: Temporality = "cumulative"
    histogram: HistogramKind = "explicit"
    series_limit: int = 20_000
    """Points of one collection at most."""
    expiry_ns: int = 300 * SECOND
    scale: int = 1
    """Of how many connections each is one that was counted: every count is told so many times."""


def metric_settings(options: Options, environ: Mapping[str, str]) -> MetricSettings:
    """Return what the options say, where they say nothing what the variables say.

    Raises :class:`~natlens.errors.ConfigError` that names the option or variable and its value. An empty variable
    counts as unset.
    """
    primary_only = options.metrics_of == "primary"
    reporter = () if primary_only else ("flow.reporter",)
    return MetricSettings(
        attributes=chosen((*options.metrics_attributes, *reporter)),
        filters=parse_filters(options.metrics_include, options.metrics_exclude, options.cidr_labels.values()),
        primary_only=primary_only,
        interval_ns=_interval_ns(options.metrics_interval, environ),
        temporality=options.metrics_temporality or _word(environ, TEMPORALITY, TEMPORALITIES, "cumulative"),
        histogram=options.metrics_histogram or _word(environ, HISTOGRAM, HISTOGRAMS, "explicit"),
        series_limit=options.series_limit,
        expiry_ns=int(options.series_expiry * SECOND),
        scale=options.sampling,
    )


def _interval_ns(option: float | None, environ: Mapping[str, str]) -> int:
    if option is not None:
        return int(option * SECOND)
    text = environ.get(INTERVAL, "").strip()
    if not text:
        return DEFAULT_INTERVAL_NS
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and SHORTEST_MS <= int(text) <= LONGEST_MS):
        raise ConfigError(
            f"{INTERVAL}={text[:60]!r} is not a whole number of milliseconds from {SHORTEST_MS} to {LONGEST_MS}"
        )
    return int(text) * MILLISECOND


def _word(environ: Mapping[str, str], variable: str, meanings: Mapping[str, Meant], otherwise: Meant) -> Meant:
    """Return what a variable's word means; in any case, as the specification asks of words."""
    word = environ.get(variable, "").strip()
    if not word:
        return otherwise
    if word.lower() not in meanings:
        raise ConfigError(f"{variable}={word[:60]!r} is not supported; it must be one of {', '.join(meanings)}")
    return meanings[word.lower()]
