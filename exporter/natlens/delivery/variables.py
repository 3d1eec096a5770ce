"""``OTEL_EXPORTER_OTLP_*``: one for logs wins over the general one, an empty one counts as unset."""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Given", "find"]


class Given(NamedTuple):
    """A setting as the user gave it; ``value`` is empty where nobody did."""

    key: str
    """What the user wrote it under: an option's or a variable's name, for messages."""
    value: str


def find(environ: Mapping[str, str], name: str, option: str | None = None) -> Given:
    """Return what is set for ``name`` (``ENDPOINT``, …): the ``option`` of the same name, or a variable."""
    if option:
        return Given(name.lower(), option)
    keys = (f"OTEL_EXPORTER_OTLP_LOGS_{name}", f"OTEL_EXPORTER_OTLP_{name}")
    return next((Given(key, value) for key in keys if (value := environ.get(key, "").strip())), Given(keys[1], ""))
