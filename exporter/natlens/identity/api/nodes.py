"""All Nodes, by rare lists: watched, the heartbeats of 5,000 nodes would be 248 KB/s for each agent."""

import threading
import time
from random import Random

from natlens.health import Health
from natlens.identity.api.access import Access
from natlens.identity.api.client import Client
from natlens.identity.api.failure import Failure
from natlens.identity.api.keep import Keep
from natlens.identity.api.pace import Pace
from natlens.identity.api.reflector import UNSURE, UNSURE_S
from natlens.identity.api.resources import ALL_NODES
from natlens.identity.api.standing import Standing
from natlens.identity.api.watch import Sink
from natlens.identity.objects import Node

__all__ = ["Nodes", "Rota"]

EVERY_S = 600.0, 900.0
SOON_S = 60.0, 75.0
"""After the last list, when a node's name is unknown."""
FORBIDDEN_S = 300.0
STOP_SECONDS = 0.8


class Rota:
    """When to list: at the start, as whose record counts depends on it, then every 10 to 15 minutes; sooner if wanted.

    Pure; times are monotonic seconds.
    """

    def __init__(self, now: float, random: Random) -> None:
        self._random = random
        self._pace = Pace(random)
        self._known = 0
        self._held = False
        self._refused = 0  # in a row
        self._due = self._soonest = now

    def wait_s(self, now: float, *, wanted: bool) -> float:
        """Return the seconds until the next list."""
        due = min(self._due, self._soonest) if wanted else self._due
        return max(due - now, self._pace.wait_s(now), 0.0)

    def listed(self, now: float, count: int) -> bool:
        """Take a list; return whether it is to be believed: not at once that there are none any more."""
        self._soonest = now + self._random.uniform(*SOON_S)
        self._due = now + self._random.uniform(*EVERY_S)
        self._pace.well()
        self._refused = 0
        if not count and self._known and not self._held:
            self._held, self._due = True, self._soonest
            return False
        self._held, self._known = False, count
        return True

    def started(self, now: float) -> None:
        """Take note of a request."""
        self._pace.started(now)

    def failed(self, now: float, failure: Failure) -> None:
        """Take a failure: it is tried again after a backoff."""
        self._due = self._soonest = now
        self._refused = self._refused + 1 if failure.status == 403 else 0
        if 0 < self._refused <= UNSURE:
            self._pace.pause(now, *UNSURE_S)
        else:
            self._pace.failed(now, FORBIDDEN_S if self._refused else failure.retry_after_s)


class Nodes:
    """Gives ``sink`` every Node (``replace``) from :meth:`start` to :meth:`stop`."""

    def __init__(self, access: Access, keep: Keep, sink: Sink, health: Health, *, random: Random | None = None) -> None:
        self._client = Client(access, ALL_NODES, keep, health)
        self._sink = sink
        self._standing = Standing(ALL_NODES, access.server, health)
        self._rota = Rota(time.monotonic(), random or Random())  # noqa: S311  # jitter
        self._wanted, self._stopping = False, False
        self._wake = threading.Event()
        self.synced = threading.Event()
        """Set once the sink has had a first whole list."""
        self._thread = threading.Thread(target=self._run, name="natlens-nodes", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def want(self) -> None:
        """List sooner: a name is unknown. For any thread; costs nothing when it was said before."""
        if not self._wanted:
            self._wanted = True
            self._wake.set()

    def stop(self) -> None:
        """End within a second, whatever is waited for."""
        self._stopping = True
        self._wake.set()
        self._client.cut()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            if (seconds := self._rota.wait_s(time.monotonic(), wanted=self._wanted)) > 0:
                self._wake.wait(seconds)
            else:
                self._list()
        self._client.close()

    def _list(self) -> None:
        self._rota.started(time.monotonic())
        self._wanted = False
        try:
            listing = self._client.list({"resourceVersion": "0"})
        except Failure as failure:
            self._rota.failed(time.monotonic(), failure)
            if not self._stopping:
                self._standing.now("forbidden" if failure.status == 403 else "failing", failure)
            return
        if self._stopping:
            return
        believed = self._rota.listed(time.monotonic(), len(listing.objects) + listing.unreadable)
        self._standing.now("synced" if believed else "held", None)
        if believed:
            self._sink.replace(Node, listing.objects, time.time_ns())
            self.synced.set()
