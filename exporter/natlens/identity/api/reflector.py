"""What to ask the API next, and what of its answers to believe; without a thread, a socket or a clock of its own.

The protocol is that of https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes:
list, then watch from the list's version; when that breaks, from the last version seen; when that is too old, list.
Times are monotonic seconds that the caller passes.
"""

from dataclasses import dataclass
from random import Random
from typing import Literal

from natlens.identity.api.decode import Event
from natlens.identity.api.failure import Failure
from natlens.identity.api.pace import Pace
from natlens.identity.api.resources import Resource

__all__ = ["SILENCE_S", "UNSURE", "UNSURE_S", "List", "Reflector", "State", "Wait", "Watch"]

SILENCE_S = 180.0
"""The server sends a bookmark every minute: one that says nothing for this long is not there."""
WATCH_S = 300.0, 600.0
RELIST_S = 5.0
"""Lists after 410, which all agents of a cluster get at once, spread over this."""
FORBIDDEN_S = 30.0, 60.0
UNSURE, UNSURE_S = 5, (1.0, 3.0)
"""So many refusals are asked again soon: an API server that has just started does not know its roles yet."""
THRIVES_S = 10.0
"""A watch of this age has proven that the server works."""
SHORT_S = 1.0

State = Literal["starting", "synced", "held", "failing", "forbidden", "unauthorized"]


@dataclass(frozen=True)
class Wait:
    """Do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class List:
    """Ask for a list with this query."""

    query: dict[str, str]


@dataclass(frozen=True)
class Watch:
    """Watch with this query."""

    query: dict[str, str]


class Reflector:
    """Follows one resource. Call :meth:`next`, do it, and tell what came of it."""

    def __init__(self, resource: Resource, random: Random, empty_again_s: float = 30.0) -> None:
        self._resource, self._random, self._empty_again_s = resource, random, empty_again_s
        self._pace = Pace(random)
        self._watching = False
        self._version = ""  # the last that is known; none: of any age
        self._held = False
        self._known = 0  # objects
        self._began = self._heard = 0.0
        self._events = 0
        self._opened = self._bookmarked = False
        self._expired_before = False  # without a watch that thrived since
        self._refused = 0  # in a row
        self.state: State = "starting"
        """synced: what the sink has is current; held: an empty list is not believed yet."""

    def next(self, now: float) -> Wait | List | Watch:
        """Return what to do now."""
        if (seconds := self._pace.wait_s(now)) > 0:
            return Wait(seconds)
        self._pace.started(now)
        self._began, self._events, self._opened, self._bookmarked = now, 0, False, False
        return Watch(self._watch_query()) if self._watching else List(self._list_query())

    def listed(self, now: float, version: str, count: int) -> bool:
        """Take a list of ``count`` objects; return whether it is to be believed.

        An empty one where there were objects is what a restored or half-started API server gives: it is asked again.
        """
        if not count and self._known and not self._held:
            self._held, self.state = True, "held"
            self._pace.pause(now, self._empty_again_s, self._empty_again_s)
            return False
        self._held, self._known, self._version, self._heard = False, count, version, now
        self._watching, self.state, self._refused = True, "synced", 0
        return True

    def opened(self, now: float) -> None:
        """Take the server's agreement to a watch."""
        self._heard = now
        self._opened = True
        self._refused = 0

    def event(self, now: float, event: Event) -> bool:
        """Take an event; return whether its object is to be applied. Raises :class:`Failure` ``reordered``."""
        if _older(event.version, self._version):
            raise Failure("reordered", f"an event of version {event.version[:40]} came after {self._version[:40]}")
        self._version = event.version or self._version
        self._heard = now
        self._events += 1
        self.state = "synced"
        self._thrive(now)
        if event.type == "BOOKMARK":
            self._bookmarked = True
            return False
        self._known = max(self._known + {"ADDED": 1, "MODIFIED": 0, "DELETED": -1}[event.type], 0)
        return True

    def silent(self, now: float) -> bool:
        """Return whether the watch has said nothing for too long; a drip of bytes is nothing."""
        return now - max(self._heard, self._began) > SILENCE_S

    def ended(self, now: float) -> None:
        """Take the end of a watch that the server closed, as it does every few minutes: it goes on at once."""
        self._heard = now
        life = now - self._began
        if life < SHORT_S and not self._events:
            self._failed(now, None)  # or it would be asked twice a second for ever
            return
        self.state = "synced"
        self._thrive(now)

    def failed(self, now: float, failure: Failure) -> None:
        """Take a request that failed, or a watch that did."""
        if self._watching and self._opened:
            self._thrive(now)
        self._refused = self._refused + 1 if failure.status == 403 else 0
        match failure:
            case Failure(status=401):
                self._failed(now, None, "unauthorized")
            case Failure(status=403):
                self._forbidden(now)
            case Failure(status=410):
                self._expired(now)
            case Failure(too_large=True):
                self._watching, self._version = False, ""  # an older history, or a server that lags: any version
                self._failed(now, failure.retry_after_s or 1.0)
            case Failure(code="timeout" | "silent") if self._watching:
                self._watching = self._bookmarked  # else the last version may be too old, or of another history
                self._failed(now, failure.retry_after_s)
            case _:
                if failure.event or failure.code in {"reordered", "internal"}:
                    self._watching = False  # something may have been missed
                self._failed(now, failure.retry_after_s)

    def age_s(self, now: float) -> float:
        """Return the seconds since the last sign of life."""
        return now - self._heard

    def _failed(self, now: float, after_s: float | None, state: State = "failing") -> None:
        self._pace.failed(now, after_s)
        if self._pace.failures > 1 or self.state != "synced":
            self.state = state  # one break of a watch that goes on is no news

    def _forbidden(self, now: float) -> None:
        self._pace.pause(now, *(FORBIDDEN_S if self._refused > UNSURE else UNSURE_S))
        if self._refused > 1 or self.state == "starting":
            self.state = "forbidden"

    def _expired(self, now: float) -> None:
        if not self._watching:
            self._version = ""
        self._watching = False
        if self._expired_before:
            self._failed(now, None)
        else:
            self._pace.pause(now, 0.0, RELIST_S)
        self._expired_before = True

    def _thrive(self, now: float) -> None:
        if now - self._began >= THRIVES_S:
            self._pace.well()
            self._expired_before = False

    def _list_query(self) -> dict[str, str]:
        query = self._selected()
        if self._version and not self._held:
            return {**query, "resourceVersion": self._version, "resourceVersionMatch": "NotOlderThan"}
        return {**query, "resourceVersion": "0"}

    def _watch_query(self) -> dict[str, str]:
        return {
            **self._selected(),
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(round(self._random.uniform(*WATCH_S))),
        }

    def _selected(self) -> dict[str, str]:
        return {"fieldSelector": self._resource.selector} if self._resource.selector else {}


def _older(version: str, than: str) -> bool:
    """Return whether one version is older than another, as integers, which those of one resource are (KEP-5504)."""
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)
