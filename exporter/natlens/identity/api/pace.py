"""When requests may be sent: a bound that always holds, and backoff with full jitter.

Times are monotonic seconds that the caller passes.
"""

from collections import deque
from random import Random

__all__ = ["MOST_PER_SECOND", "Pace"]

MOST_PER_SECOND = 2
FIRST_S, LAST_S = 0.5, 30.0
LONGEST_S = 300.0
"""No server's Retry-After is waited for longer than this."""


class Pace:
    """At most 2 requests within any second; after failures, waits of up to 0.5 s, doubled up to 30 s."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._starts: deque[float] = deque(maxlen=MOST_PER_SECOND)
        self._not_before = 0.0
        self.failures = 0
        """In a row."""

    def wait_s(self, now: float) -> float:
        """Return the seconds until the next request may start."""
        full = len(self._starts) == MOST_PER_SECOND
        return max(self._not_before - now, self._starts[0] + 1.0 - now if full else 0.0, 0.0)

    def started(self, now: float) -> None:
        """Take note of a request."""
        self._starts.append(now)

    def well(self) -> None:
        """Take note that the server works: the next backoff begins anew."""
        self.failures = 0

    def failed(self, now: float, after_s: float | None = None) -> None:
        """Wait for a backoff, and no shorter than the server asks."""
        bound = min(FIRST_S * 2 ** min(self.failures, 16), LAST_S)
        asked = min(after_s or 0.0, LONGEST_S)
        self.failures += 1
        self._not_before = now + asked + self._random.uniform(0.0, bound)

    def pause(self, now: float, least_s: float, most_s: float) -> None:
        """Wait for a time between these."""
        self._not_before = now + self._random.uniform(least_s, most_s)
