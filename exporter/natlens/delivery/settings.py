"""Where OTLP goes: explicit options over ``OTEL_EXPORTER_OTLP_*``."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from natlens.errors import ConfigError

__all__ = ["DEFAULT_PORT", "OtlpSettings", "read_settings"]

DEFAULT_PORT = 4317
DEFAULT_TIMEOUT_S = 10.0

HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
HEADER = re.compile(r"[a-z0-9_.-]+")
HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """How to reach an OTLP/gRPC receiver; ``target`` is ``host:port`` with IPv6 in brackets."""

    target: str
    insecure: bool
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = DEFAULT_TIMEOUT_S

    @property
    def url(self) -> str:
        """The endpoint as people write it."""
        return f"{'http' if self.insecure else 'https'}://{self.target}"


def read_settings(
    environ: Mapping[str, str],
    *,
    endpoint: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
) -> OtlpSettings | None:
    """Return where and how to send; None where no endpoint is named anywhere.

    Keywords are explicit options and win over variables; variables for logs win over general ones.
    Explicit ``headers``, if there are any, replace those of the variables. Raises
    :class:`~natlens.errors.ConfigError` that names the option or variable and its value.
    """
    key, url = ("endpoint", endpoint) if endpoint else _variable(environ, "ENDPOINT")
    if not url:
        return None
    target, insecure = _parse_endpoint(key, url)
    if insecure is None:
        insecure = _insecure(*_variable(environ, "INSECURE"))
    if headers:
        sent = tuple(_header("headers", name, value) for name, value in headers.items())
    else:
        sent = _parse_headers(*_variable(environ, "HEADERS"))
    return OtlpSettings(target, insecure, sent, timeout_s or _timeout(*_variable(environ, "TIMEOUT")))


def _variable(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return the variable that is set and its value; an empty one counts as unset."""
    keys = (f"OTEL_EXPORTER_OTLP_LOGS_{name}", f"OTEL_EXPORTER_OTLP_{name}")
    return next(((key, value) for key in keys if (value := environ.get(key, "").strip())), (keys[1], ""))


def _parse_endpoint(key: str, url: str) -> tuple[str, bool | None]:
    """Return target and whether it is insecure: the scheme says it, without one (``host:port``) None."""
    url = url.strip()
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        port = parts.port
    except ValueError as error:
        raise _malformed(key, url, str(error)) from error
    if parts.scheme not in ("", "http", "https"):
        raise _malformed(key, url, f"the scheme {parts.scheme!r} is neither http nor https")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _malformed(key, url, "OTLP/gRPC has no path: leave out what follows the port")
    if port == 0 or parts.netloc.endswith(":"):
        raise _malformed(key, url, "the port is missing")
    insecure = {"http": True, "https": False}.get(parts.scheme)
    return f"{_host(key, url, parts)}:{DEFAULT_PORT if port is None else port}", insecure


def _host(key: str, url: str, parts: SplitResult) -> str:
    host = parts.hostname or ""
    if "@" in parts.netloc:
        raise ConfigError(f"{key} holds a user or password, which OTLP does not send: use headers instead")
    if ":" in host:
        try:
            return f"[{ipaddress.IPv6Address(host)}]"
        except ValueError as error:
            raise _malformed(key, url, str(error)) from error
    if not HOST.fullmatch(host):
        raise _malformed(key, url, "the host is missing or not a host name" if host else "the host is missing")
    return host


def _malformed(key: str, url: str, why: str) -> ConfigError:
    return ConfigError(f"{key}={url!r} is not an OTLP/gRPC endpoint: {why}; an example is http://collector:4317")


def _insecure(key: str, value: str) -> bool:
    if value.lower() not in ("", "true", "false"):
        raise ConfigError(f"{key}={value!r} is neither true nor false")
    return value.lower() == "true"


def _timeout(key: str, value: str) -> float:
    if not value:
        return DEFAULT_TIMEOUT_S
    if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) == 0:
        raise ConfigError(f"{key}={value!r} is not a whole number of milliseconds above 0")
    return int(value) / 1000


def _parse_headers(key: str, value: str) -> tuple[tuple[str, str], ...]:
    """Return headers of ``name=value,…`` with percent-encoded values."""
    pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
    if any(not equals for _, equals, _ in pairs):
        raise ConfigError(f"{key} is not name=value,… (its value is not shown: it may hold secrets)")
    return tuple(_header(key, unquote(name), unquote(text.strip())) for name, _, text in pairs)


def _header(key: str, name: str, value: str) -> tuple[str, str]:
    """Return a header as gRPC sends it; the value stays out of messages, it may be a secret."""
    sent = name.strip().lower()
    if not HEADER.fullmatch(sent) or sent.startswith("grpc-") or sent.endswith("-bin"):
        raise ConfigError(f"{key}: {name!r} cannot be the name of a header")
    if not HEADER_VALUE.fullmatch(value):
        raise ConfigError(f"{key}: the value of {name!r} holds characters that a header cannot carry")
    return sent, value
