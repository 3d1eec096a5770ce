"""The URL that requests go to, from what users write as an endpoint."""

import ipaddress
import re
from typing import Literal
from urllib.parse import SplitResult, urlsplit, urlunsplit

from natlens.delivery.variables import Given
from natlens.errors import ConfigError

__all__ = ["Protocol", "grpc_endpoint", "http_endpoint"]

Protocol = Literal["grpc", "http/protobuf"]

GRPC_PORT = 4317

HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
IN_URL = re.compile(r"[\x21-\x7e]*")

NAMES: dict[Protocol, tuple[str, str]] = {
    "grpc": ("OTLP/gRPC", "http://collector:4317"),
    "http/protobuf": ("OTLP/HTTP", "http://collector:4318"),
}


def grpc_endpoint(given: Given, insecure: Given) -> str:
    """Return ``scheme://host:port`` of a URL, or of ``host:port``; without a port it is 4317.

    Where no scheme is said, ``insecure`` decides. Raises :class:`~natlens.errors.ConfigError` that
    names the key and its value.
    """
    parts = _split("grpc", given, given.value if "://" in given.value else f"//{given.value}")
    if parts.scheme not in ("", "http", "https"):
        raise _malformed("grpc", given, f"the scheme {parts.scheme!r} is neither http nor https")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _malformed("grpc", given, "OTLP/gRPC has no path: leave out what follows the port")
    host = _host("grpc", given, parts)
    scheme = parts.scheme or ("http" if _is_true(insecure) else "https")
    return f"{scheme}://{host}:{parts.port or GRPC_PORT}"


def http_endpoint(given: Given, path: str | None) -> str:
    """Return the full URL of OTLP/HTTP (OTLP exporter, "Endpoint URLs for OTLP/HTTP").

    ``path`` (``v1/logs``) is appended. An endpoint that is one signal's own has None: it is used as it is,
    with the path ``/`` where it has none. A URL without a port means its scheme's, 80 or 443: 4318 has to be said.
    Raises :class:`~natlens.errors.ConfigError` that names the key and its value.
    """
    parts = _split("http/protobuf", given, given.value)
    if parts.scheme not in ("http", "https") or "://" not in given.value:
        raise _malformed("http/protobuf", given, "it must begin with http:// or https://")
    if parts.fragment or not IN_URL.fullmatch(given.value):
        raise _malformed("http/protobuf", given, "it must have neither spaces nor a fragment (#)")
    host = _host("http/protobuf", given, parts)
    netloc = host if parts.port is None else f"{host}:{parts.port}"
    full = (parts.path or "/") if path is None else f"{parts.path.rstrip('/')}/{path}"
    return urlunsplit((parts.scheme, netloc, full, parts.query, ""))


def _split(protocol: Protocol, given: Given, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _malformed(protocol, given, str(error)) from error
    if port == 0 or parts.netloc.endswith(":"):
        raise _malformed(protocol, given, "the port is missing")
    return parts


def _host(protocol: Protocol, given: Given, parts: SplitResult) -> str:
    host = parts.hostname or ""
    if "@" in parts.netloc:
        raise ConfigError(f"{given.key} holds a user or password, which OTLP does not send: use headers instead")
    if ":" in host:
        try:
            return f"[{ipaddress.IPv6Address(host)}]"
        except ValueError as error:
            raise _malformed(protocol, given, str(error)) from error
    if not HOST.fullmatch(host):
        raise _malformed(protocol, given, "the host is missing or not a host name" if host else "the host is missing")
    return host


def _malformed(protocol: Protocol, given: Given, why: str) -> ConfigError:
    what, example = NAMES[protocol]
    return ConfigError(f"{given.key}={given.value!r} is not an {what} endpoint: {why}; an example is {example}")


def _is_true(given: Given) -> bool:
    if given.value.lower() not in ("", "true", "false"):
        raise ConfigError(f"{given.key}={given.value!r} is neither true nor false")
    return given.value.lower() == "true"
