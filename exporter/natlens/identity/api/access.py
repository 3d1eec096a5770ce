"""Who asks, and where: configuration and credentials of the Kubernetes API, current at every request."""

import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from natlens.errors import ConfigError
from natlens.identity.api.failure import Failure
from natlens.identity.api.kubeconfig import Loaded, default_files, load_in_cluster, load_kubeconfig
from natlens.identity.api.status import one_line

__all__ = ["Access", "Credentials"]

log = logging.getLogger(__name__)

Stamp = tuple[int, int, int]


@dataclass(frozen=True, repr=False)
class Credentials:
    """What one request is sent with; it has no repr, as logs are read by many."""

    configuration: Any
    authorization: str | None
    """The value of the header of that name."""
    generation: int
    """Changes whenever the configuration was loaded anew: connections of an older one are not used again."""


class Access:
    """A thread-safe way to the API, by the rules of the official client.

    The token is asked of the client's configuration for every request, so that tokens and exec plugins expire as they
    do there; files that changed (kubeconfig, token, CA, certificate, key) are loaded anew.
    """

    def __init__(self, load: Callable[[], Loaded]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._generation = 0
        self._loaded = load()
        self._stamps = _stamps(self._loaded.files)
        _check_tls(self._loaded.configuration)
        _quiet(self._loaded.configuration)

    @classmethod
    def open(cls, kubeconfig: str | None, context: str | None, *, allow_default_files: bool) -> Self:
        """Return a way by ``kubeconfig`` (its current context if None is named), else by a pod's ServiceAccount.

        With ``allow_default_files`` ``KUBECONFIG`` and ``~/.kube/config`` come before the ServiceAccount, as kubectl
        has it.
        Raises :class:`ConfigError` naming the key, the value and the way out, and :class:`MissingFeature`.
        """
        paths = kubeconfig or (default_files() if allow_default_files else None)
        if paths is not None:
            return cls(lambda: load_kubeconfig(paths, context))
        if context is not None:
            raise ConfigError(f"kube_context {context!r}: there is no kubeconfig; give --kubeconfig")
        return cls(load_in_cluster)

    @property
    def server(self) -> str:
        """Return the server's URL."""
        return str(self._loaded.configuration.host)

    def credentials(self) -> Credentials:
        """Return what the next request is sent with; raises :class:`Failure` ``credentials``."""
        with self._lock:
            try:
                stamps = _stamps(self._loaded.files)
                if stamps != self._stamps:
                    self._renew(stamps)
                configuration = self._loaded.configuration
                return Credentials(configuration, _authorization(configuration), self._generation)
            except Exception as error:  # from refreshing tokens: files, plugins, HTTP of an identity provider
                raise Failure("credentials", one_line(str(error))) from error

    def refused(self, credentials: Credentials) -> None:
        """Load everything anew after a 401, unless that was done since; raises :class:`Failure` ``credentials``."""
        with self._lock:
            if credentials.generation != self._generation:
                return
            try:
                self._renew(_stamps(self._loaded.files))
            except ConfigError as error:
                raise Failure("credentials", one_line(str(error))) from error

    def _renew(self, stamps: list[Stamp | None]) -> None:
        loaded = self._load()
        _check_tls(loaded.configuration)
        self._loaded, self._stamps = loaded, stamps if len(stamps) == len(loaded.files) else _stamps(loaded.files)
        self._generation += 1


def _authorization(configuration: Any) -> str | None:
    """Return the header's value; its text is in no message."""
    value = (configuration.auth_settings().get("BearerToken") or {}).get("value")
    if not value:
        return None
    header = str(value).strip()  # a file's last line ends, too
    if not header.isascii() or not header.isprintable():
        raise ValueError("the token has characters that no HTTP header can have")
    return header


def _stamps(files: tuple[str, ...]) -> list[Stamp | None]:
    return [_stamp(path) for path in files]


def _stamp(path: str) -> Stamp | None:
    """Return what changes with a file: a ServiceAccount's are replaced, others written in place."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _check_tls(configuration: Any) -> None:
    """Raise :class:`ConfigError` for files that TLS cannot use: later they would only be failed handshakes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if configuration.ssl_ca_cert:
        _use("certificate-authority", configuration.ssl_ca_cert, context.load_verify_locations)
    if configuration.cert_file:
        pair = configuration.cert_file
        _use("client-certificate", pair, lambda path: context.load_cert_chain(path, configuration.key_file))


def _use(key: str, path: str, load: Callable[[str], None]) -> None:
    try:
        load(path)
    except ssl.SSLError as error:
        raise ConfigError(f"{key}: {path}: not usable as PEM ({error.reason or 'no certificate'})") from error
    except OSError as error:
        raise ConfigError(f"{key}: {path}: {error.strerror}; correct the path") from error


def _quiet(configuration: Any) -> None:
    """Say once, in a line of our own, what urllib3 would say for every request."""
    import urllib3

    urllib3.disable_warnings(urllib3.exceptions.HTTPWarning)
    if str(configuration.host).startswith("https:") and not configuration.verify_ssl:
        log.warning("%s is not verified (insecure-skip-tls-verify): whoever answers gets the token", configuration.host)
