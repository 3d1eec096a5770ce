"""Which place each series has in the arrays, and how long it lives."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from natlens.otlp.column import Codes, Mask
from natlens.otlp.metrics.collection import OVERFLOW, Attributes
from natlens.otlp.metrics.totals import grown

__all__ = ["NONE", "OVER", "Slots"]

OVER = 0
"""The slot of the series of what is over the limit; no other series gets it."""

NONE = -1
"""What a series without a slot has."""

FEWEST = 64


class Slots:
    """Slots of series, at most ``most`` of them live, :data:`OVER` with them; free ones are used again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._slot_of: dict[Attributes, int] = {}
        self._attributes: list[Attributes] = []
        self._last: dict[Attributes, Attributes] = {}
        self._free: list[int] = []
        self._live, self._touched, self._born = (np.zeros(0, np.bool_) for _ in range(3))
        self._start_ns, self._seen_ns = (np.zeros(0, np.int64) for _ in range(2))
        self._grow(min(FEWEST, most))

    def __len__(self) -> int:
        """Return the number of live series."""
        return len(self._slot_of)

    @property
    def capacity(self) -> int:
        """Above every slot."""
        return len(self._live)

    @property
    def room(self) -> int:
        """How many series may enter, beside that of what is over."""
        return self._most - 1 - len(self._slot_of) + int(self._live[OVER])

    def find(self, series: Iterable[Attributes], n: int) -> Codes:
        """Return the slot of each of ``n`` series, or :data:`NONE`."""
        slot_of = self._slot_of.get
        return np.fromiter((slot_of(one, NONE) for one in series), np.intp, n)

    def enter(self, series: Sequence[Attributes], start_ns: int) -> Codes:
        """Return slots for new series, no more than there is :attr:`room` for, which begin at ``start_ns``."""
        while len(self._free) < len(series):
            self._grow(min(2 * self.capacity, self._most))
        slots = np.array([self._free.pop() for _ in series], np.intp)
        for slot, one in zip(slots.tolist(), series, strict=True):
            self._begin(slot, self._last.get(one, one))
        self._start_ns[slots] = start_ns
        return slots

    def enter_over(self, start_ns: int) -> None:
        """Make the series of what is over live, if it is not."""
        if not self._live[OVER]:
            self._begin(OVER, OVERFLOW)
            self._start_ns[OVER] = start_ns

    def touch(self, slots: Codes) -> None:
        """Note that there were connections of these series."""
        self._touched[slots] = True

    def seen(self, time_ns: int) -> None:
        """Say when what was touched since the last call was touched."""
        self._seen_ns[self._touched] = time_ns
        self._touched[:] = False

    def silent_since(self, time_ns: int) -> Codes:
        """Return the live series that were last seen at ``time_ns`` or before."""
        return np.flatnonzero(self._live & (self._seen_ns <= time_ns))

    def free(self, slots: Codes) -> None:
        """End series. One that comes back before the next call has the same tuple again, which encoders know."""
        ended = [self._attributes[slot] for slot in slots.tolist()]
        self._last = dict(zip(ended, ended, strict=True))
        for one in ended:
            del self._slot_of[one]
        self._live[slots] = False
        self._free.extend(slot for slot in slots.tolist() if slot != OVER)

    def live(self) -> Codes:
        """Return the slots of live series, ascending."""
        return np.flatnonzero(self._live)

    def start_ns(self, slots: Codes) -> npt.NDArray[np.int64]:
        """Return since when these series are (Unix time)."""
        return self._start_ns[slots]

    def take_born(self, slots: Codes) -> Mask:
        """Tell which of these series began since the last call."""
        born = self._born[slots]
        self._born[slots] = False
        return born

    def attributes(self, slots: Codes) -> list[Attributes]:
        """Return the series themselves."""
        return [self._attributes[slot] for slot in slots.tolist()]

    def _begin(self, slot: int, series: Attributes) -> None:
        self._slot_of[series], self._attributes[slot] = slot, series
        self._live[slot] = self._born[slot] = True

    def _grow(self, capacity: int) -> None:
        before = self.capacity
        self._live, self._touched, self._born = (
            grown(one, capacity) for one in (self._live, self._touched, self._born)
        )
        self._start_ns, self._seen_ns = grown(self._start_ns, capacity), grown(self._seen_ns, capacity)
        self._attributes += [()] * (capacity - before)
        self._free.extend(reversed(range(max(before, OVER + 1), capacity)))
