"""The part of the official client that natlens uses: configuration, credentials and connection pools.

``import kubernetes`` brings typed models, OAuth and websockets: 29 MiB with version 37 and 64 MiB before it
(ADR 11). So its packages, and two that only ``auth-provider: oidc`` needs, are stood in for while the
three modules that are wanted are imported. The package ``kubernetes`` itself can be imported afterwards as ever.
"""

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

from natlens.errors import MissingFeature

__all__ = ["PLUGIN_SECONDS", "official"]

PLUGIN_SECONDS = 30.0
"""How long an exec plugin may take."""
PACKAGES = ("kubernetes", "kubernetes.client", "kubernetes.config", "kubernetes.utils")


@cache
def official() -> SimpleNamespace:
    """Return the client's modules ``configuration``, ``rest``, ``incluster_config``, ``kube_config`` (untyped).

    Raises :class:`MissingFeature` if the package is not installed.
    """
    spec = find_spec("kubernetes")
    if spec is None or spec.submodule_search_locations is None:
        raise MissingFeature("the Python package kubernetes is not installed: pip install natlens brings it")
    stand_ins = {name: _package(name, spec.submodule_search_locations[0]) for name in PACKAGES}
    with _standing_in({**stand_ins, **_oidc()}):
        client = stand_ins["kubernetes.client"]
        configuration = import_module("kubernetes.client.configuration")
        client.__dict__.update(
            Configuration=configuration.Configuration, ApiClient=_later("kubernetes.client", "ApiClient")
        )
        parts = SimpleNamespace(
            configuration=configuration,
            rest=import_module("kubernetes.client.rest"),
            incluster_config=import_module("kubernetes.config.incluster_config"),
            kube_config=import_module("kubernetes.config.kube_config"),
            exec_provider=import_module("kubernetes.config.exec_provider"),
            ConfigException=import_module("kubernetes.config.config_exception").ConfigException,
        )
    _tame(parts)
    return parts


def _package(name: str, root: str) -> ModuleType:
    stand_in = ModuleType(name)
    stand_in.__path__ = ["/".join((root, *name.split(".")[1:]))]
    return stand_in


def _oidc() -> dict[str, ModuleType]:
    """Return stand-ins of what refreshes tokens for ``auth-provider: oidc``, imported when that happens."""
    oauth, session = _Later("oauthlib"), ModuleType("requests_oauthlib")
    session.__dict__["OAuth2Session"] = _later("requests_oauthlib", "OAuth2Session")
    return {"oauthlib": oauth, "oauthlib.oauth2": ModuleType("oauthlib.oauth2"), "requests_oauthlib": session}


class _Later(ModuleType):
    """A package whose subpackages are imported when they are asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return import_module(f"{self.__name__}.{name}")


def _later(module: str, name: str) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        return getattr(import_module(module), name)(*arguments, **named)

    return call


@contextmanager
def _standing_in(modules: dict[str, ModuleType]) -> Iterator[None]:
    """Let imports find ``modules``, and what they import below them; afterwards all is as it was."""
    roots = {name.partition(".")[0] for name in modules}

    def ours() -> list[str]:
        return [name for name in sys.modules if name.partition(".")[0] in roots]

    before = {name: sys.modules.pop(name) for name in ours()}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in ours():
            del sys.modules[name]
        sys.modules.update(before)


def _tame(parts: SimpleNamespace) -> None:
    """Make errors of exec plugins errors, which are a line in the root logger and no token; and end those that hang."""

    def error(message: object, *_: object) -> NoReturn:
        raise parts.ConfigException(str(message))

    parts.kube_config.logging = SimpleNamespace(error=error, getLogger=logging.getLogger)
    parts.exec_provider.subprocess = SimpleNamespace(Popen=_Plugin, PIPE=subprocess.PIPE)


class _Plugin(subprocess.Popen[str]):
    """A process that is killed when it takes too long."""

    def communicate(self, *_: Any, **__: Any) -> tuple[str, str]:
        """Return its output and errors; raises TimeoutError."""
        try:
            out, errors = super().communicate(timeout=PLUGIN_SECONDS)
        except subprocess.TimeoutExpired as late:
            self.kill()
            for pipe in (self.stdout, self.stderr):  # a child of it may hold the other ends
                if pipe is not None:
                    pipe.close()
            self.wait()
            raise TimeoutError(f"exec: no answer in {PLUGIN_SECONDS:g} s") from late
        return out, errors or ""
