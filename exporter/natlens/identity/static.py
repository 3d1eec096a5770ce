"""Identity from a file of Kubernetes objects, for hosts without a cluster and for the demo."""

import logging
import os
import stat
import time
from collections.abc import Collection
from pathlib import Path

from natlens.errors import IdentityError
from natlens.health import Health
from natlens.identity.endpoint import Endpoint
from natlens.identity.explain import Explanation
from natlens.identity.index import Index
from natlens.identity.manifest import read_manifest
from natlens.identity.naming import Anonymous
from natlens.identity.objects import EndpointSlice, KubernetesObject, Node, Pod, Service

__all__ = ["StaticFile"]

KINDS: tuple[type[KubernetesObject], ...] = (Node, Pod, Service, EndpointSlice)
TICK_NS = 20_000_000  # files changed twice within one tick of the kernel's clock keep their mtime

log = logging.getLogger(__name__)

Signature = tuple[int, int, int, int, int]


class StaticFile(Anonymous):
    """An :class:`~natlens.identity.endpoint.Identity` from a YAML or JSON file, reread when it changes.

    Raises :class:`IdentityError` if the file cannot be used at the start; later a broken file leaves
    the last good one in force, one log line and the counter ``identity_refresh_failed``.
    """

    def __init__(self, path: str | Path, health: Health) -> None:
        self._path = Path(path)
        self._health = health
        self._seen: Signature | None = None  # of the file as it was when it was last opened
        self._settled = True
        self._text = 0  # hash of what was last read, good or not
        self._index = Index(health)
        self._read()

    def endpoint(self, address: str, port: int, transport: int, at_ns: int) -> Endpoint:
        """Return what ``address`` is in the file as last read; a file has no history, so ``at_ns`` is not asked."""
        return self._index.endpoint(address, port, transport, at_ns)

    def ports(self, address: str) -> Collection[tuple[int, int]]:
        """Return which ports of ``address`` the file tells apart."""
        return self._index.ports(address)

    def explain(self, address: str, port: int, transport: int, at_ns: int) -> Explanation:
        """Return why ``address`` has the name that it has."""
        return self._index.explain(address, port, transport, at_ns)

    def refresh(self) -> bool:
        """Reread the file if it changed (also by a symlink's swap); return whether answers may have changed.

        Never raises: see the class.
        """
        seen = _signature(self._path)
        if seen == self._seen and self._settled:
            return False
        try:
            return self._read()
        except IdentityError as error:
            self._seen = seen
            self._health.add("identity_refresh_failed")
            log.warning("%s (the objects read before stay in force)", error)
            return False

    def _read(self) -> bool:
        """Read the file; return False if it says what it said before."""
        self._settled = True
        try:
            with open(self._path, "rb", opener=_without_waiting) as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise IdentityError(f"{self._path}: is not a regular file; give identity_file a file of objects")
                text = file.read().decode()
        except OSError as error:
            raise IdentityError(f"{self._path}: cannot be read ({error.strerror}); check identity_file") from error
        except UnicodeDecodeError as error:
            raise IdentityError(f"{self._path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
        self._seen = _signature_of(found)
        self._settled = abs(time.time_ns() - found.st_mtime_ns) > TICK_NS
        if hash(text) == self._text:
            return False
        self._text = hash(text)
        objects = read_manifest(text, str(self._path))
        for kind in KINDS:
            self._index.replace(kind, [one for one in objects if isinstance(one, kind)], time.time_ns())
        self._health.set("identity_objects", len(objects))
        return True


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # or a FIFO would keep the agent waiting


def _signature(path: Path) -> Signature | None:
    try:
        return _signature_of(path.stat())
    except OSError:
        return None


def _signature_of(found: os.stat_result) -> Signature:
    # ctime too: a file that could not be read may only have changed its mode since
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
