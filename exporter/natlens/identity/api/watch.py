"""Follows one resource of the API in a thread of its own, and tells a sink."""

import logging
import threading
import time
from contextlib import closing
from random import Random
from typing import Protocol

from natlens.health import Health
from natlens.identity.api.access import Access
from natlens.identity.api.client import Client
from natlens.identity.api.failure import Failure
from natlens.identity.api.keep import Keep
from natlens.identity.api.reflector import List, Reflector, Wait, Watch
from natlens.identity.api.resources import Resource
from natlens.identity.api.standing import Standing
from natlens.identity.objects import KubernetesObject

__all__ = ["Sink", "Watcher"]

log = logging.getLogger(__name__)

STOP_SECONDS = 0.8


class Sink(Protocol):
    """Takes what the API tells; ``at_ns``: Unix time in ns at which it was known here. Called from several threads."""

    def replace(self, kind: type[KubernetesObject], objects: list[KubernetesObject], at_ns: int) -> None:
        """Take a full list: what is not in it is gone."""
        ...

    def put(self, one: KubernetesObject, at_ns: int) -> None:
        """Take an object that is new or has changed."""
        ...

    def delete(self, one: KubernetesObject, at_ns: int) -> None:
        """Take the last state of an object that is gone."""
        ...


class Watcher:
    """Gives ``sink`` a resource's list and every change after it, from :meth:`start` to :meth:`stop`.

    A list that is not whole (one Node of all) is put, and replaces nothing.

    Gauges: ``identity_synced{resource}`` 1 while what the sink has is current, ``identity_heard_s{resource}`` Unix time
    of the server's last sign of life. What fails is in one line of the log whenever that changes.
    """

    def __init__(
        self,
        access: Access,
        resource: Resource,
        keep: Keep,
        sink: Sink,
        health: Health,
        *,
        empty_again_s: float = 30.0,
        random: Random | None = None,
    ) -> None:
        self._client = Client(access, resource, keep, health)
        self._resource, self._sink = resource, sink
        self._reflector = Reflector(resource, random or Random(), empty_again_s)  # noqa: S311  # jitter
        self._standing = Standing(resource, access.server, health)
        self._stopping = threading.Event()
        self.synced = threading.Event()
        """Set once the sink has had a first whole list."""
        self._thread = threading.Thread(target=self._run, name=f"natlens-{resource.label}", daemon=True)

    @property
    def age_s(self) -> float:
        """Return the seconds since the server's last sign of life."""
        return self._reflector.age_s(time.monotonic())

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """End within a second, whatever is waited for; the sink is not called after that."""
        self._stopping.set()
        self._client.cut()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            match self._reflector.next(time.monotonic()):
                case Wait(seconds):
                    self._stopping.wait(seconds)
                case step:
                    self._do(step)
        self._client.close()

    def _do(self, step: List | Watch) -> None:
        failure: Failure | None = None
        try:
            if isinstance(step, List):
                self._list(step)
            else:
                self._watch(step)
        except Failure as found:
            failure = found
        except Exception as error:  # a mistake in natlens must not end what names come from
            log.exception("%s", self._resource.label)
            failure = Failure("internal", f"{type(error).__name__}: {error}")
        if self._stopping.is_set():
            return
        if failure is not None:
            self._reflector.failed(time.monotonic(), failure)
        self._standing.now(self._reflector.state, failure)

    def _list(self, step: List) -> None:
        listing = self._client.list(step.query)
        found = len(listing.objects) + listing.unreadable
        if self._reflector.listed(time.monotonic(), listing.version, found) and not self._stopping.is_set():
            self._tell(listing.objects)
            self.synced.set()

    def _tell(self, objects: list[KubernetesObject]) -> None:
        at_ns = time.time_ns()
        if self._resource.whole:
            self._sink.replace(self._resource.kind, objects, at_ns)
            return
        for one in objects:
            self._sink.put(one, at_ns)

    def _watch(self, step: Watch) -> None:
        with closing(self._client.watch(step.query, self._opened, self._silent)) as events:
            for event in events:
                if self._stopping.is_set():
                    return
                applied = self._reflector.event(time.monotonic(), event)
                self._standing.now(self._reflector.state, None)
                if applied and event.object is not None:
                    (self._sink.delete if event.type == "DELETED" else self._sink.put)(event.object, time.time_ns())
        self._reflector.ended(time.monotonic())

    def _opened(self) -> None:
        self._reflector.opened(time.monotonic())
        self._standing.now(self._reflector.state, None)

    def _silent(self) -> bool:
        return self._reflector.silent(time.monotonic())
