"""Records that wait for their names: what an address was is known a moment after the packet."""

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Interval", "Waiting"]


class Interval(NamedTuple):
    """Connections of one interval."""

    connections: npt.NDArray[np.void]
    """Shape (n,), dtype :data:`natlens.flows.connection.CONNECTION`."""
    end_ns: int
    """Unix time: the interval's end."""


class Waiting:
    """Intervals in the order in which they ended; those whose packets are old enough need not wait."""

    def __init__(self) -> None:
        self._late: deque[Interval] = deque()
        self._due: deque[int] = deque()

    def put(self, interval: Interval, wait_ns: int, now_ns: int, *, every: bool = False) -> Interval:
        """Keep the connections with packets in the last ``wait_ns`` before the interval's end; return the others.

        Kept are also those of which an earlier record waits: a connection's records stay in order.

        ``now_ns``, of any steady clock, is the interval's end: what is kept is due ``wait_ns`` after its last packet.
        ``every``: keep them all.
        """
        ends = interval.connections["end_ns"]
        late = (ends > interval.end_ns - wait_ns) | every | self._holds(interval.connections)
        if not late.any():
            return interval
        self._late.append(interval._replace(connections=interval.connections[late]))
        self._due.append(now_ns + wait_ns - max(interval.end_ns - int(ends.max()), 0))
        return interval._replace(connections=interval.connections[~late])

    def _holds(self, connections: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
        if not self._late:
            return np.zeros(len(connections), np.bool_)
        held = np.concatenate([interval.connections["flow_id"][:, 0] for interval in self._late])
        return np.isin(connections["flow_id"][:, 0], held)

    def take(self, now_ns: int | None = None) -> Interval | None:
        """Return the next interval that is due at ``now_ns`` (default: due or not), None if there is none."""
        if not self._due or (now_ns is not None and self._due[0] > now_ns):
            return None
        self._due.popleft()
        return self._late.popleft()

    @property
    def intervals(self) -> list[Interval]:
        """What waits, in order."""
        return list(self._late)

    @property
    def next_ns(self) -> int | None:
        """When the next one is due; None if nothing waits."""
        return self._due[0] if self._due else None
