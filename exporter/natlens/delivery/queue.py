"""The memory queue between the pipeline and a sender, bounded in bytes.

When it is full the *oldest* records go: later records of the same connections carry totals since the
start, so less is lost than by refusing the newest. Only the request that is being sent stays.
"""

import threading
import time
from collections import deque
from typing import Literal, NamedTuple

from natlens.health import Health

__all__ = ["DropReason", "Encoded", "Queue"]

DropReason = Literal["queue_full", "too_large", "shutdown", "write_failed"]


class Encoded(NamedTuple):
    """One serialized request."""

    payload: bytes
    records: int


class Queue:
    """First in, first out, with one taker; accounts for every record that is put in."""

    def __init__(self, capacity_bytes: int, health: Health) -> None:
        self._capacity = capacity_bytes
        self._health = health
        self._waiting: deque[Encoded] = deque()
        self._sending: Encoded | None = None
        self._held_bytes = 0
        self._pending = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def pending(self) -> int:
        """Records that wait or are being sent."""
        with self._changed:
            return self._pending

    def put(self, item: Encoded) -> None:
        """Append a request, dropping the oldest that it has no room beside; what never fits is dropped itself."""
        with self._changed:
            self._health.add("records_captured", item.records)
            self._hold(len(item.payload), item.records)
            if self._closed:
                self._drop(item, "shutdown")
                return
            if len(item.payload) > self._capacity - (len(self._sending.payload) if self._sending else 0):
                self._drop(item, "queue_full")
                return
            while self._held_bytes > self._capacity:
                self._drop(self._waiting.popleft(), "queue_full")
            self._waiting.append(item)
            self._changed.notify_all()

    def take(self) -> Encoded | None:
        """Wait for the oldest request and return it, still pending until :meth:`settle`; None once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._sending = self._waiting.popleft() if self._waiting else None
            return self._sending

    def settle(
        self, *, exported: int = 0, rejected: int = 0, code: str = "", dropped: DropReason | None = None
    ) -> None:
        """Count the taken request: ``exported`` and ``rejected`` records, or all of it ``dropped``."""
        with self._changed:
            item = self._sending
            if item is None:
                return
            self._sending = None
            if dropped:
                self._drop(item, dropped)
            else:
                self._health.add("records_exported", exported)
                self._health.add("records_rejected", rejected, code=code)
                self._hold(-len(item.payload), -item.records)
            self._changed.notify_all()

    def wait_empty(self, deadline: float) -> bool:
        """Wait until nothing is pending, at most until ``deadline`` (monotonic, s); tell whether that came true."""
        with self._changed:
            remaining = max(0.0, deadline - time.monotonic())
            return self._changed.wait_for(lambda: not (self._waiting or self._sending), remaining)

    def close(self) -> None:
        """Drop what waits as ``shutdown``; what is being sent is its sender's to settle."""
        with self._changed:
            self._closed = True
            while self._waiting:
                self._drop(self._waiting.popleft(), "shutdown")
            self._changed.notify_all()

    def _hold(self, size: int, records: int) -> None:
        self._held_bytes += size
        self._pending += records
        self._health.set("records_pending", self._pending)

    def _drop(self, item: Encoded, reason: DropReason) -> None:
        self._health.add("records_dropped", item.records, reason=reason)
        self._hold(-len(item.payload), -item.records)
