"""Headers that the user adds to every request; their values stay out of messages, they may be secrets."""

import re
from collections.abc import Mapping
from urllib.parse import unquote

from natlens.delivery.variables import Given
from natlens.errors import ConfigError

__all__ = ["Headers", "checked_headers", "parse_headers"]

Headers = tuple[tuple[str, str], ...]

NAME = re.compile(r"[a-z0-9_.-]+")
VALUE = re.compile(r"[\x20-\x7e]*")
OURS = frozenset(
    {
        *("connection", "content-encoding", "content-length", "content-type"),
        *("expect", "host", "te", "transfer-encoding", "user-agent"),
    }
)
"""Headers that say what natlens sends and how."""


def parse_headers(given: Given) -> Headers:
    """Return headers of ``name=value,…`` with percent-encoded values (W3C baggage, as OpenTelemetry has it).

    Raises :class:`~natlens.errors.ConfigError` that names the variable.
    """
    pairs = [pair.partition("=") for pair in given.value.split(",") if pair.strip()]
    if any(not equals for _, equals, _ in pairs):
        raise ConfigError(f"{given.key} is not name=value,… (its value is not shown: it may hold secrets)")
    return tuple(_header(given.key, unquote(name), unquote(text.strip())) for name, _, text in pairs)


def checked_headers(headers: Mapping[str, str]) -> Headers:
    """Return the option's headers; raises :class:`~natlens.errors.ConfigError` for what cannot be sent."""
    return tuple(_header("headers", name, value) for name, value in headers.items())


def _header(key: str, name: str, value: str) -> tuple[str, str]:
    sent = name.strip().lower()
    if not NAME.fullmatch(sent) or sent.startswith("grpc-") or sent.endswith("-bin"):
        raise ConfigError(f"{key}: {name!r} cannot be the name of a header")
    if sent in OURS:
        raise ConfigError(f"{key}: the header {name!r} is natlens' own: leave it out")
    if not VALUE.fullmatch(value):
        raise ConfigError(f"{key}: the value of {name!r} holds characters that a header cannot carry")
    return sent, value
