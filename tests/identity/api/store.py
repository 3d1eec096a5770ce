"""The objects of the tests' API server, and the history of their changes."""

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tests.identity.api.encode import Manifest

__all__ = ["PATHS", "Change", "Store"]

PATHS = {
    "/api/v1/pods": "Pod",
    "/api/v1/services": "Service",
    "/api/v1/nodes": "Node",
    "/apis/discovery.k8s.io/v1/endpointslices": "EndpointSlice",
}


@dataclass(frozen=True)
class Change:
    """One, as a watch tells it."""

    event: str
    kind: str
    version: int
    manifest: Manifest


class Store:
    """Thread-safe; versions count up from ``version``, as etcd's revisions do."""

    def __init__(self, version: int = 1000) -> None:
        self.changed = threading.Condition()
        self.version = version
        self.oldest = 0
        """Watches from before this are answered with 410."""
        self._objects: dict[tuple[str, str | None, str], Manifest] = {}
        self._history: list[Change] = []

    def put(self, kind: str, manifest: Manifest) -> Manifest:
        """Create or update an object; return it as stored."""
        key = _key(kind, manifest)
        with self.changed:
            return self._add("MODIFIED" if key in self._objects else "ADDED", kind, manifest)

    def delete(self, kind: str, manifest: Manifest) -> None:
        """Delete an object."""
        with self.changed:
            self._add("DELETED", kind, manifest)
            del self._objects[_key(kind, manifest)]

    def restore(self, version: int) -> None:
        """Begin another history without objects, as a restored etcd has it."""
        with self.changed:
            self._objects.clear()
            self._history.clear()
            self.version = version

    def find(self, kind: str, selector: str) -> tuple[int, list[Manifest]]:
        """Return the version and the objects that a field selector leaves."""
        with self.changed:
            chosen = _selected(selector)
            return self.version, [
                one for (of, _, _), one in sorted(self._objects.items(), key=str) if of == kind and chosen(one)
            ]

    def since(self, kind: str, selector: str, version: int) -> list[Change]:
        """Return the changes after a version; with ``changed`` held, for who waits on it."""
        chosen = _selected(selector)
        return [one for one in self._history if one.kind == kind and one.version > version and chosen(one.manifest)]

    def _add(self, event: str, kind: str, manifest: Manifest) -> Manifest:
        self.version += 1
        stored = copy.deepcopy(manifest)
        stored["metadata"]["resourceVersion"] = str(self.version)
        self._objects[_key(kind, manifest)] = stored
        self._history.append(Change(event, kind, self.version, stored))
        self.changed.notify_all()
        return stored


def _key(kind: str, manifest: Manifest) -> tuple[str, str | None, str]:
    metadata = manifest["metadata"]
    return kind, metadata.get("namespace"), metadata["name"]


def _selected(selector: str) -> Callable[[Manifest], bool]:
    if not selector:
        return lambda _: True
    path, _, wanted = selector.partition("=")
    part, field = path.split(".")
    return lambda manifest: manifest.get(part, {}).get(field) == wanted
