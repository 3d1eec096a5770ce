"""``OTEL_EXPORTER_OTLP_*``: one for the signal wins over the general one, an empty one counts as unset."""

from collections.abc import Mapping
from typing import NamedTuple

from natlens.otlp.request import Signal

__all__ = ["Given", "Variables"]


class Given(NamedTuple):
    """A setting as the user gave it; ``value`` is empty where nobody did."""

    key: str
    """What the user wrote it under: an option's or a variable's name, for messages."""
    value: str


class Variables(NamedTuple):
    """The variables that hold for one signal."""

    environ: Mapping[str, str]
    signal: Signal = "logs"

    def own(self, name: str) -> str:
        """Return the variable for this signal alone: ``OTEL_EXPORTER_OTLP_METRICS_ENDPOINT``."""
        return f"OTEL_EXPORTER_OTLP_{self.signal.upper()}_{name}"

    def find(self, name: str, option: str | None = None) -> Given:
        """Return what is set for ``name`` (``ENDPOINT``, …): the ``option`` of the same name, or a variable."""
        if option:
            return Given(name.lower(), option)
        keys = (self.own(name), f"OTEL_EXPORTER_OTLP_{name}")
        found = (Given(key, value) for key in keys if (value := self.environ.get(key, "").strip()))
        return next(found, Given(keys[1], ""))
