"""A sink that remembers, and ways to the tests' API server."""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from tests.identity.api.server import ApiServer

from natlens.identity.api.access import Access
from natlens.identity.objects import KubernetesObject

__all__ = ["Recorder", "access_to", "kubeconfig", "until"]

WAIT_SECONDS = 10.0


class Recorder:
    """Holds what a real sink would, by kind and name, and every call in ``calls``."""

    def __init__(self) -> None:
        self.objects: dict[tuple[type[KubernetesObject], str], KubernetesObject] = {}
        self.calls: list[tuple[str, str, int]] = []
        self._lock = threading.Lock()

    def names(self, kind: type[KubernetesObject]) -> set[str]:
        with self._lock:
            return {name for of, name in self.objects if of is kind}

    def replace(self, kind: type[KubernetesObject], objects: list[KubernetesObject], at_ns: int) -> None:
        with self._lock:
            self.calls.append(("replace", ",".join(one.metadata.name for one in objects), at_ns))
            self.objects = {key: one for key, one in self.objects.items() if key[0] is not kind}
            self.objects.update({(kind, one.metadata.name): one for one in objects})

    def put(self, one: KubernetesObject, at_ns: int) -> None:
        with self._lock:
            self.calls.append(("put", one.metadata.name, at_ns))
            self.objects[type(one), one.metadata.name] = one

    def delete(self, one: KubernetesObject, at_ns: int) -> None:
        with self._lock:
            self.calls.append(("delete", one.metadata.name, at_ns))
            self.objects.pop((type(one), one.metadata.name), None)


def until(what: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not become so"
        time.sleep(0.005)


def kubeconfig(
    path: Path, server: str, user: Mapping[str, object] | None = None, cluster: Mapping[str, object] | None = None
) -> Path:
    """Write a kubeconfig of one context, and return it."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "u", "user": dict(user or {})}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def access_to(api: ApiServer, directory: Path, user: Mapping[str, object] | None = None) -> Access:
    """Return a way to a server without TLS."""
    return Access.open(str(kubeconfig(directory / "kubeconfig", api.url, user)), None, allow_default_files=False)
