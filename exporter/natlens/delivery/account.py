"""The account of one signal: what became of each record, point or span, and how sending goes."""

from typing import Literal

from natlens.health import Health
from natlens.otlp.request import UNITS, Signal

__all__ = ["Account", "DropReason"]

DropReason = Literal["queue_full", "too_large", "shutdown", "write_failed"]


class Account:
    """Counts under the names of the signal's unit: ``records_captured``, ``points_captured``, ``spans_captured``, ….

    May be used from any thread.
    """

    def __init__(self, health: Health, signal: Signal = "logs") -> None:
        self._health = health
        self.signal: Signal = signal
        self.unit = UNITS[signal]

    def captured(self, count: int) -> None:
        """Count what is given to an outlet: the sum of all that follows."""
        self._health.add(f"{self.unit}_captured", count)

    def exported(self, count: int) -> None:
        """Count what the other side took."""
        self._health.add(f"{self.unit}_exported", count)

    def rejected(self, count: int, code: str) -> None:
        """Count what the other side refused for good."""
        self._health.add(f"{self.unit}_rejected", count, code=code)

    def dropped(self, count: int, reason: DropReason) -> None:
        """Count what was given up here."""
        self._health.add(f"{self.unit}_dropped", count, reason=reason)

    def held(self, pending: int, held_bytes: int) -> None:
        """Tell what a queue holds now, waiting or being sent; bytes are compressed ones."""
        self._health.set(f"{self.unit}_pending", pending)
        self._health.set("queue_bytes", held_bytes, signal=self.signal)

    def capacity(self, capacity_bytes: int) -> None:
        """Tell how many bytes a queue can hold."""
        self._health.set("queue_capacity_bytes", capacity_bytes, signal=self.signal)

    def retried(self, code: str) -> None:
        """Count an exchange that failed and is tried again."""
        self._health.add("export_retries", code=code, signal=self.signal)

    def exchanged(self, took_s: float) -> None:
        """Count an exchange that ended, well or not, and the whole microseconds it took."""
        self._health.add("export_count", signal=self.signal)
        self._health.add("export_time_us", round(max(took_s, 0.0) * 1e6), signal=self.signal)
