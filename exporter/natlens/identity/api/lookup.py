"""Pods by address, for addresses that nothing else names."""

import threading
import time
from collections import OrderedDict

from natlens.health import Health
from natlens.identity.api.access import Access
from natlens.identity.api.client import Client
from natlens.identity.api.failure import Failure
from natlens.identity.api.keep import Keep
from natlens.identity.api.resources import pods_at
from natlens.identity.api.standing import Standing
from natlens.identity.api.watch import Sink

__all__ = ["Lookup", "Questions"]

EVERY_S = 10.0
FORGET_S = 600.0
MOST_WAITING = 256
MOST_ASKED = 4096
STOP_SECONDS = 0.8


class Questions:
    """Which address to ask for next: the oldest first, none twice in 10 minutes. Pure; times are monotonic seconds."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, None] = OrderedDict()
        self._asked: OrderedDict[str, float] = OrderedDict()
        self._not_before = 0.0

    def add(self, address: str, now: float) -> bool:
        """Take an address; return whether it will be asked for: not if it was, or if 256 wait already."""
        if address in self._waiting or len(self._waiting) >= MOST_WAITING:
            return address in self._waiting
        if now - self._asked.get(address, -FORGET_S) < FORGET_S:
            return False
        self._waiting[address] = None
        return True

    def wait_s(self, now: float) -> float | None:
        """Return the seconds until the next may be asked, None if there is none."""
        return max(self._not_before - now, 0.0) if self._waiting else None

    def take(self, now: float) -> str:
        """Return the next address, and remember that it was asked for."""
        address, _ = self._waiting.popitem(last=False)
        self._asked[address] = now
        self._asked.move_to_end(address)
        if len(self._asked) > MOST_ASKED:
            self._asked.popitem(last=False)
        self._not_before = now + EVERY_S
        return address

    def failed(self, address: str, now: float, after_s: float) -> None:
        """Ask again for an address, no sooner than after this."""
        del self._asked[address]
        self.add(address, now)
        self._not_before = now + max(after_s, EVERY_S)


class Lookup:
    """Asks for the pod of an address (``status.podIP``), one in 10 s, and gives it to ``sink.put``.

    Counts ``identity_lookups{result}``: found, none, refused (256 wait already, or asked before).
    """

    def __init__(self, access: Access, keep: Keep, sink: Sink, health: Health) -> None:
        self._client = Client(access, pods_at(""), keep, health)
        self._standing = Standing(pods_at(""), access.server, health)
        self._sink, self._health = sink, health
        self._questions = Questions()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="natlens-lookup", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def ask(self, address: str) -> None:
        """Ask for an address (canonical text) when its time comes; for any thread, and never waits for the API."""
        with self._changed:
            if not self._questions.add(address, time.monotonic()):
                self._health.add("identity_lookups", result="refused")
            self._changed.notify()

    def stop(self) -> None:
        """End within a second, whatever is waited for."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._client.cut()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while (address := self._next()) is not None:
            self._look_up(address)
        self._client.close()

    def _next(self) -> str | None:
        with self._changed:
            while not self._stopping:
                now = time.monotonic()
                if (seconds := self._questions.wait_s(now)) == 0:
                    return self._questions.take(now)
                self._changed.wait(seconds)
        return None

    def _look_up(self, address: str) -> None:
        try:
            found = self._client.list({"fieldSelector": pods_at(address).selector, "resourceVersion": "0"}).objects
        except Failure as failure:
            if not self._stopping:
                self._standing.now("forbidden" if failure.status == 403 else "failing", failure)
                with self._changed:
                    self._questions.failed(address, time.monotonic(), failure.retry_after_s or 0.0)
            return
        self._standing.now("synced", None)
        self._health.add("identity_lookups", result="found" if found else "none")
        for pod in found:
            self._sink.put(pod, time.time_ns())
