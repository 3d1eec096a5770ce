"""What a row of the table of natlens' own metrics is."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Literal, NamedTuple

__all__ = ["Alert", "Instrument", "Metric", "Source", "added", "prometheus_label", "prometheus_name"]

Instrument = Literal["counter", "updown", "gauge"]
Severity = Literal["critical", "warning", "info"]

NOTHING: Mapping[str, str] = MappingProxyType({})
UNITS = {"s": "seconds", "By": "bytes"}
"""Units that Prometheus writes into a name; those in braces it leaves out."""


class Alert(NamedTuple):
    """A rule: when somebody should look, and what they should do."""

    name: str
    expr: str
    """PromQL; its result is one series for each thing that is wrong."""
    summary: str
    """One line, with the labels of the result as ``{{ $labels.… }}``."""
    action: str
    severity: Severity = "warning"
    lasting: str = "0m"
    """For how long it must be so."""


class Source(NamedTuple):
    """What a metric has from :class:`~natlens.health.Health`."""

    name: str
    """Of the counter or gauge; one ``*`` stands for any words."""
    rename: Mapping[str, str] = NOTHING
    """Attribute there → attribute of the metric; others keep their names."""
    rest: str | None = None
    """Attribute that gets what ``*`` stands for; None: it is summed over."""
    fixed: Mapping[str, str] = NOTHING
    """Attributes that all of it has."""
    scale: float = 1
    """By what the value is multiplied."""
    age: bool = False
    """Whether the value is a Unix time (s), and the metric tells how long ago that was."""
    known: tuple[Mapping[str, str], ...] = ()
    """Attributes of series that are there from the start, at 0 (counters without attributes need not be named)."""

    def match(self, name: str) -> str | None:
        """Return what ``*`` stands for ("" without one) if this is of it, else None."""
        if not fnmatchcase(name, self.name):
            return None
        before, _, after = self.name.partition("*")
        return name[len(before) : len(name) - len(after)] if "*" in self.name else ""


class Metric(NamedTuple):
    """One row."""

    name: str
    """By semantic conventions, else ``natlens.…``."""
    instrument: Instrument
    unit: str
    """UCUM."""
    brief: str
    sources: tuple[Source, ...]
    alert: Alert | str
    """The rule, or why there is none."""

    @property
    def prometheus(self) -> str:
        """What Prometheus calls it."""
        return prometheus_name(self.name, self.instrument, self.unit)


def prometheus_name(name: str, instrument: Instrument, unit: str) -> str:
    """Return what Prometheus calls a metric (OpenTelemetry, "Prometheus and OpenMetrics Compatibility")."""
    words = [name.replace(".", "_"), UNITS.get(unit, ""), "total" if instrument == "counter" else ""]
    return "_".join(word for word in words if word)


def prometheus_label(name: str) -> str:
    """Return what Prometheus calls an attribute."""
    return name.replace(".", "_")


def added(metric: str, *by: str, only: str = "", within: str = "10m") -> str:
    """Return PromQL that has a series for each target, and each of the labels ``by``, for which a counter went up.

    ``increase`` says nothing of a series that was born with more than 0: the second half finds those.
    """
    of = ", ".join(("job", "instance", *by))
    series = f"{metric}{{{only}}}" if only else metric
    return (
        f"sum by ({of}) (increase({series}[{within}])) > 0 or "
        f"(sum by ({of}) ({series}) > 0 unless sum by ({of}) ({series} offset {within}))"
    )
