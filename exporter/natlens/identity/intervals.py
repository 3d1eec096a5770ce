"""When a claim held: surely, possibly, or until a moment ago. All times are ns of Unix time."""

from enum import IntEnum
from typing import NamedTuple

__all__ = ["ALWAYS", "BEGIN", "END", "SECOND", "Interval", "State"]

SECOND = 1_000_000_000
BEGIN, END = -(1 << 63), (1 << 63) - 1
"""No time is before the one or after the other."""


class State(IntEnum):
    """How a claim stands at one time; the greater is the better evidence."""

    NONE = 0
    TOMBSTONE = 1  # over, not long ago
    POSSIBLE = 2
    SURE = 3


class Interval(NamedTuple):
    """Kubernetes' times are whole seconds and events come late, so a claim has two begins and two ends.

    It surely held in [sure_since, sure_until), possibly in [since, until), and is a tombstone in [until, gone).
    """

    since: int
    sure_since: int
    sure_until: int = END
    until: int = END
    gone: int = END
    yields: int = END
    """When its deletion was asked for: one that became sure after that goes before it."""

    def state(self, at_ns: int) -> State:
        """Return how the claim stands at a time."""
        if at_ns < self.since or at_ns >= self.gone:
            return State.NONE
        if at_ns >= self.until:
            return State.TOMBSTONE
        return State.SURE if self.sure_since <= at_ns < self.sure_until else State.POSSIBLE

    def ended(self, sure_until: int, until: int, grace_ns: int) -> "Interval":
        """Return this with an end, unless it had an earlier one."""
        until = min(self.until, until)
        return self._replace(
            sure_until=min(self.sure_until, sure_until, until), until=until, gone=min(self.gone, until + grace_ns)
        )

    def within(self, other: "Interval") -> "Interval":
        """Return when both held."""
        return Interval(
            max(self.since, other.since),
            max(self.sure_since, other.sure_since),
            min(self.sure_until, other.sure_until),
            min(self.until, other.until),
            min(self.gone, other.gone),
            min(self.yields, other.yields),
        )

    def borders(self) -> tuple[int, ...]:
        """Return the times at which the state changes."""
        found = (self.since, self.sure_since, self.sure_until, self.until, self.gone)
        return tuple(time for time in found if BEGIN < time < END)


ALWAYS = Interval(BEGIN, BEGIN)
