"""Where the cluster is and who we are: a configuration of the official client, loaded, checked, explained.

https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yaml import YAMLError

from natlens.errors import ConfigError
from natlens.identity.api.official import official

__all__ = ["Loaded", "default_files", "load_in_cluster", "load_kubeconfig"]

DEFAULT_FILE = "~/.kube/config"


@dataclass(frozen=True)
class Loaded:
    """A configuration, and the files whose change makes it stale."""

    configuration: Any  # kubernetes.client.Configuration, which is untyped here
    files: tuple[str, ...]


def default_files() -> str | None:
    """Return ``KUBECONFIG``, or ``~/.kube/config`` if it exists: what kubectl reads."""
    if named := os.environ.get("KUBECONFIG"):
        return named
    default = Path(DEFAULT_FILE).expanduser()
    return str(default) if default.exists() else None


def load_in_cluster() -> Loaded:
    """Return what a pod's ServiceAccount gives; raises :class:`ConfigError` naming the file or variable."""
    module = official().incluster_config
    token, authority = module.SERVICE_TOKEN_FILENAME, module.SERVICE_CERT_FILENAME
    for name in (module.SERVICE_HOST_ENV_NAME, module.SERVICE_PORT_ENV_NAME):
        if not os.environ.get(name):
            raise ConfigError(
                f"not in a cluster: the variable {name} is not set; give --kubeconfig, or run natlens as a pod"
            )
    for path in (token, authority):
        _readable("the pod's ServiceAccount", path, "let the pod have it: automountServiceAccountToken: true")
    configuration = official().configuration.Configuration()
    loader = module.InClusterConfigLoader(token_filename=token, cert_filename=authority)
    with _explained("the pod's ServiceAccount"):
        loader.load_and_set(configuration)
    return Loaded(configuration, (token, authority))


def load_kubeconfig(paths: str, context: str | None) -> Loaded:
    """Return what kubeconfig files say (several are separated by colons, and merged as kubectl does).

    Raises :class:`ConfigError` naming file, key and way out.
    """
    module = official().kube_config
    files = [str(Path(path).expanduser()) for path in paths.split(os.pathsep) if path]
    if not any(Path(path).exists() for path in files):
        raise ConfigError(f"kubeconfig: {paths}: no such file; correct the path, or leave it out in a pod")
    place = f"kubeconfig {paths}"
    configuration = official().configuration.Configuration()
    configuration.host = ""  # not localhost, which it would be without one
    with _explained(place):
        merger = module.KubeConfigMerger(paths)
        name = _context(merger.config, context, place)
        loader = module.KubeConfigLoader(
            config_dict=merger.config, active_context=name, config_base_path=None, config_persister=merger.save_changes
        )
        loader.load_and_set(configuration)
        files.extend(_token_file(merger.config, loader.current_context))
    server = configuration.host
    if not server.startswith(("https://", "http://")):
        raise ConfigError(f"{place}: server: expected a URL such as https://10.0.0.1:6443, got {server!r}")
    return Loaded(configuration, (*files, *_tls_files(configuration)))


def _context(config: Any, wanted: str | None, place: str) -> str:
    """Return the context's name, which exists."""
    contexts = config.safe_get("contexts") or []
    names = [str(one["name"]) for one in contexts]
    name = wanted or config.safe_get("current-context")
    known = ", ".join(names[:8]) or "none"
    if not name:
        raise ConfigError(f"{place}: no current-context; name one with --kube-context (there are: {known})")
    if name not in names:
        raise ConfigError(f"{place}: no context {name!r}; there are: {known}")
    return str(name)


def _token_file(config: Any, context: Any) -> Iterator[str]:
    """Yield the file that the context's user has its token from: the official client reads it once."""
    users = config.safe_get("users")
    name = context["context"].get("user")
    found = config["users"].get_with_name(name, safe=True) if users and name else None
    if found and (path := found["user"].safe_get("tokenFile")):
        yield str(Path(found.path or "").parent / path)


def _tls_files(configuration: Any) -> Iterator[str]:
    yield from filter(None, (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file))


def _readable(place: str, path: str, way_out: str) -> None:
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{place}: {path}: {error.strerror}; {way_out}") from error
    if not text.strip():
        raise ConfigError(f"{place}: {path} is empty; {way_out}")


@contextmanager
def _explained(place: str) -> Iterator[None]:
    """Make :class:`ConfigError` of what the official client raises."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # the client lets through what its parts raise: YAML, files, plugins, HTTP
        raise ConfigError(f"{place}: {' '.join(_problem(error).split())}") from error


def _problem(error: Exception) -> str:
    match error:
        case YAMLError():
            return f"no YAML: {getattr(error, 'problem', None) or 'unreadable'}; correct the file"
        case TimeoutError():
            return f"{error}; correct the plugin"
        case OSError() if error.filename:
            return f"{error.filename}: {error.strerror}; correct the path"
        case AttributeError() | KeyError() | TypeError():
            return f"not a kubeconfig ({type(error).__name__}: {error}); correct the file"
    return f"{str(error).rstrip('.')}; correct it"
