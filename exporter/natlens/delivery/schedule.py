"""When requests may be sent: several at once to a healthy receiver, one probe after another to one that fails.

Without threads, sockets or a clock of its own: times are monotonic seconds that the caller passes.
"""

from natlens.delivery.retry import Backoff

__all__ = ["Schedule"]


class Schedule:
    """After a failure that may pass, all wait for one backoff; then one request probes, alone.

    What becomes of requests that were already on their way then changes nothing but that a longer
    delay the receiver asks for is kept: only the probe tells whether it has recovered.
    """

    def __init__(self, backoff: Backoff, in_flight: int) -> None:
        self._backoff = backoff
        self._in_flight = in_flight
        self._attempt = 0
        self._probing = False
        self._until: float | None = None
        self._asked = False  # by the receiver, which a flush does not shorten

    def room(self, now: float, running: int) -> int:
        """Return how many requests may start beside those that run."""
        if self._until is None:
            return self._in_flight - running
        return 1 if now >= self._until and not running else 0

    def wait_s(self, now: float) -> float | None:
        """Return the seconds until requests may start again; None where only an answer or a request changes that."""
        return None if self._until is None or now >= self._until else self._until - now

    def started(self) -> None:
        """Take note that a request is on its way."""
        if self._until is not None:
            self._probing = True

    def answered(self) -> None:
        """Take note of a final answer: whoever gives one to a probe is there again."""
        if self._probing or self._until is None:
            self._attempt, self._probing, self._until, self._asked = 0, False, None, False

    def failed(self, now: float, after_s: float | None) -> None:
        """Take note of a failure that may pass; ``after_s`` is the delay that the receiver asks for."""
        if self._until is not None and not self._probing:  # the others of a burst
            if after_s:
                self._wait_until(max(self._until, now + self._backoff.delay(0, after_s)), asked=True)
            return
        self._wait_until(now + self._backoff.delay(self._attempt, after_s), asked=bool(after_s))
        self._attempt += 1
        self._probing = False

    def hurry(self, now: float) -> None:
        """End a wait of our own at once and begin backing off anew; one the receiver asked for stays."""
        self._attempt = 0
        if self._until is not None and not self._asked:
            self._until = min(self._until, now)

    def _wait_until(self, until: float, *, asked: bool) -> None:
        self._until, self._asked = until, asked
