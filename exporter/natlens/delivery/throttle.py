"""Messages of a failure that lasts: one now and then is enough."""

import time
from collections.abc import Callable

__all__ = ["Throttle"]


class Throttle:
    """Lets through one message per ``every_s`` seconds."""

    def __init__(self, every_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._every, self._clock = every_s, clock
        self._next = float("-inf")

    def due(self) -> bool:
        """Tell whether a message may be written now."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + self._every
        return True
