"""Where and how OTLP goes: natlens' options over ``OTEL_EXPORTER_OTLP_*``.

Follows "OpenTelemetry Protocol Exporter, Configuration Options". Where nothing is said natlens speaks
gRPC and compresses by gzip.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar, get_args

from natlens.config import Options
from natlens.delivery.certificates import NO_CERTIFICATES, Certificates, checked_certificates
from natlens.delivery.compression import Compression
from natlens.delivery.endpoint import Protocol, grpc_endpoint, http_endpoint
from natlens.delivery.headers import Headers, checked_headers, parse_headers
from natlens.delivery.variables import Given, Variables
from natlens.errors import ConfigError
from natlens.otlp.request import Signal

__all__ = ["OtlpSettings", "read_settings"]

DEFAULT_TIMEOUT_S = 10.0
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
COMPRESSIONS: tuple[Compression, ...] = get_args(Compression)

Word = TypeVar("Word", bound=str)


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """How to reach an OTLP receiver of one signal."""

    protocol: Protocol
    url: str
    """Of gRPC ``scheme://host:port``, of HTTP the full URL of a request."""
    compression: Compression = "gzip"
    headers: Headers = ()
    timeout_s: float = DEFAULT_TIMEOUT_S
    certificates: Certificates = NO_CERTIFICATES
    requests_in_flight: int = 4

    signal: Signal = "logs"

    @property
    def target(self) -> str:
        """The URL for messages: without its query, which may hold secrets."""
        return self.url.partition("?")[0]


def read_settings(options: Options, environ: Mapping[str, str], signal: Signal = "logs") -> OtlpSettings | None:
    """Return where and how to send a signal; None where no endpoint for it is named anywhere.

    Options hold for every signal and win over variables; variables for the signal win over general
    ones. The ``headers`` option, if there are any, replaces those of the variables. Raises
    :class:`~natlens.errors.ConfigError` that names the option or variable and its value; certificate
    files are read.
    """
    variables = Variables(environ, signal)
    endpoint = variables.find("ENDPOINT", options.endpoint and options.endpoint.strip())
    if not endpoint.value:
        return None
    protocol = _choice(variables.find("PROTOCOL", options.protocol), PROTOCOLS, "grpc")
    url = _url(protocol, endpoint, variables)
    return OtlpSettings(
        protocol,
        url,
        _choice(variables.find("COMPRESSION", options.compression), COMPRESSIONS, "gzip"),
        checked_headers(options.headers) if options.headers else parse_headers(variables.find("HEADERS")),
        options.timeout or _timeout_s(variables.find("TIMEOUT")),
        checked_certificates(
            _file(variables, "CERTIFICATE", "ca_file", options.ca_file),
            _file(variables, "CLIENT_CERTIFICATE", "client_certificate_file", options.client_certificate_file),
            _file(variables, "CLIENT_KEY", "client_key_file", options.client_key_file),
            secure=url.startswith("https:"),
        ),
        # Stores refuse points of a resource that are older than the newest: a request that overtakes another
        # would cost the other's points.
        1 if signal == "metrics" else options.requests_in_flight,
        signal,
    )


def _url(protocol: Protocol, endpoint: Given, variables: Variables) -> str:
    if protocol == "grpc":
        return grpc_endpoint(endpoint, variables.find("INSECURE"))
    return http_endpoint(endpoint, None if endpoint.key == variables.own("ENDPOINT") else f"v1/{variables.signal}")


def _choice(given: Given, known: tuple[Word, ...], otherwise: Word) -> Word:
    """Return the one of ``known`` that is named; raise ConfigError where it is none."""
    if not given.value:
        return otherwise
    for word in known:
        if given.value == word:
            return word
    raise ConfigError(f"{given.key}={given.value!r} is not supported; it must be one of {', '.join(known)}")


def _timeout_s(given: Given) -> float:
    if not given.value:
        return DEFAULT_TIMEOUT_S
    if not re.fullmatch(r"[0-9]{1,9}", given.value) or int(given.value) == 0:
        raise ConfigError(f"{given.key}={given.value!r} is not a whole number of milliseconds above 0")
    return int(given.value) / 1000


def _file(variables: Variables, name: str, option: str, value: str | None) -> Given:
    given = Given(option, value or "")
    found = variables.find(name)
    return found if found.value and not value else given
