"""Counters that every layer may add to: nothing is lost without a number here.

A counter is (name, attributes); names are dotted and stable, attributes say *which*. The agent's own
telemetry, ``natlens run``'s summary line and the tests all read the same table.
"""

import threading
from collections import Counter

__all__ = ["Health"]

Key = tuple[str, tuple[tuple[str, str], ...]]


class Health:
    """A thread-safe table of monotonic counters and last-value gauges."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Key] = Counter()
        self._gauges: dict[Key, float] = {}

    def add(self, name: str, value: int = 1, **attributes: str) -> None:
        """Add ``value`` (≥ 0) to a counter."""
        if value:
            with self._lock:
                self._counts[name, tuple(sorted(attributes.items()))] += value

    def set(self, name: str, value: float, **attributes: str) -> None:
        """Set a gauge."""
        with self._lock:
            self._gauges[name, tuple(sorted(attributes.items()))] = value

    def count(self, name: str, **attributes: str) -> int:
        """Return the sum of a counter over all attribute sets that contain ``attributes``."""
        wanted = set(attributes.items())
        with self._lock:
            return sum(value for (known, of), value in self._counts.items() if known == name and wanted <= set(of))

    def snapshot(self) -> dict[str, float]:
        """Return every counter and gauge as ``name{key=value,…}`` → value."""
        with self._lock:
            items = [*self._counts.items(), *self._gauges.items()]
        return {_text(key): value for key, value in sorted(items)}


def _text(key: Key) -> str:
    name, attributes = key
    return name + ("{" + ",".join(f"{k}={v}" for k, v in attributes) + "}" if attributes else "")
