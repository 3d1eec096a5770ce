"""Counters that every layer may add to: nothing is lost without a number here.

A counter is (name, attributes); names are dotted and stable, attributes say *which*. The agent's own
telemetry, ``natlens run``'s summary line and the tests all read the same table.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Health", "Key"]

Key = tuple[str, tuple[tuple[str, str], ...]]
"""Name, and attributes in order."""


class Health:
    """A thread-safe table of monotonic counters, last-value gauges, durations, and times since something was done.

    ``clock`` tells seconds; it never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[Key] = Counter()
        self._gauges: dict[Key, float] = {}
        self._lasted: dict[Key, tuple[int, float]] = {}
        self._marks: dict[Key, float] = {}

    def add(self, name: str, value: int = 1, **attributes: str) -> None:
        """Add ``value`` (≥ 0) to a counter."""
        if value:
            with self._lock:
                self._counts[_key(name, attributes)] += value

    def set(self, name: str, value: float, **attributes: str) -> None:
        """Set a gauge."""
        with self._lock:
            self._gauges[_key(name, attributes)] = value

    def time(self, name: str, seconds: float, **attributes: str) -> None:
        """Add one duration: to ``{name}_count``, and to ``{name}_time_us`` in microseconds."""
        with self._lock:
            count, total = self._lasted.get(key := _key(name, attributes), (0, 0.0))
            self._lasted[key] = count + 1, total + seconds

    @contextmanager
    def timed(self, name: str, **attributes: str) -> Iterator[None]:
        """Add how long the body takes, however it ends; see :meth:`time`."""
        begin = self._clock()
        try:
            yield
        finally:
            self.time(name, self._clock() - begin, **attributes)

    def mark(self, name: str, **attributes: str) -> None:
        """Take note that something was done now; :meth:`age` tells how long ago that is."""
        with self._lock:
            self._marks[_key(name, attributes)] = self._clock()

    def age(self, name: str, **attributes: str) -> float | None:
        """Return the seconds since :meth:`mark`; None where there was none."""
        with self._lock:
            marked = self._marks.get(_key(name, attributes))
        return None if marked is None else max(self._clock() - marked, 0.0)

    def count(self, name: str, **attributes: str) -> int:
        """Return the sum of a counter over all attribute sets that contain ``attributes``."""
        wanted = set(attributes.items())
        with self._lock:
            return sum(value for (known, of), value in self._counts.items() if known == name and wanted <= set(of))

    def gauge(self, name: str, **attributes: str) -> float | None:
        """Return a gauge; None where it was not set."""
        with self._lock:
            return self._gauges.get(_key(name, attributes))

    def snapshot(self) -> dict[str, float]:
        """Return every counter and gauge as ``name{key=value,…}`` → value."""
        with self._lock:
            items = [*self._counts.items(), *self._gauges.items()]
        return {_text(key): value for key, value in sorted(items)}

    def values(self) -> dict[Key, float]:
        """Return everything as of one moment: counters, gauges, durations (:meth:`time`), ages (``{name}_age_s``)."""
        with self._lock:
            now = self._clock()
            found: dict[Key, float] = {**self._counts, **self._gauges}
            lasted, marks = list(self._lasted.items()), list(self._marks.items())
        for (name, of), (count, seconds) in lasted:
            found[f"{name}_count", of] = count
            found[f"{name}_time_us", of] = round(seconds * 1e6)
        for (name, of), at in marks:
            found[f"{name}_age_s", of] = max(now - at, 0.0)
        return found


def _key(name: str, attributes: dict[str, str]) -> Key:
    return name, tuple(sorted(attributes.items()))


def _text(key: Key) -> str:
    name, attributes = key
    return name + ("{" + ",".join(f"{k}={v}" for k, v in attributes) + "}" if attributes else "")
