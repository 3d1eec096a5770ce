"""The memory queue between the pipeline and a sender, bounded in bytes as they are sent.

When it is full the *oldest* records go: later records of the same connections, and later points of the
same series, carry totals since the start, so less is lost than by refusing the newest. Only the requests
that are being sent stay.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable
from itertools import count
from typing import NamedTuple

from natlens.delivery.account import Account, DropReason

__all__ = ["Item", "Queue"]


class Item(NamedTuple):
    """One request."""

    place: tuple[int, ...]
    """Its place in line: its number, and for a part of a divided request which part."""
    payload: bytes
    """Serialized and compressed."""
    size: int
    """Bytes before compression."""
    records: int


class Queue:
    """First in, first out, several taken at once; accounts for every record that is put in.

    An item is in exactly one place: it waits, or it is taken until it is settled, given back or divided.
    """

    def __init__(self, capacity_bytes: int, account: Account) -> None:
        self._capacity = capacity_bytes
        self._account = account
        account.capacity(capacity_bytes)
        self._numbers = count()
        self._waiting: deque[Item] = deque()
        self._taken: dict[tuple[int, ...], Item] = {}
        self._held_bytes = 0
        self._taken_bytes = 0
        self._pending = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def pending(self) -> int:
        """Records (data points, spans) that wait or are being sent."""
        with self._changed:
            return self._pending

    def put(self, payload: bytes, size: int, records: int) -> None:
        """Append a request, dropping the oldest that it has no room beside; what never fits is dropped itself."""
        with self._changed:
            item = Item((next(self._numbers),), payload, size, records)
            self._account.captured(records)
            self._hold(item)
            if self._closed:
                self._drop(item, "shutdown")
            elif len(payload) > self._capacity - self._taken_bytes:
                self._drop(item, "queue_full")
            else:
                self._waiting.append(item)
                self._make_room()

    def take(self) -> Item | None:
        """Return the oldest request that waits, still pending; None where none does."""
        with self._changed:
            if not self._waiting:
                return None
            item = self._waiting.popleft()
            self._taken[item.place] = item
            self._taken_bytes += len(item.payload)
            return item

    def give_back(self, item: Item) -> None:
        """Let a taken request wait again, at its place in line."""
        with self._changed:
            if self._return(item):
                self._insert(item)

    def divide(self, item: Item, parts: Iterable[tuple[bytes, int, int]]) -> None:
        """Put requests (payload, size, records) with the records of a taken one in its place in line."""
        with self._changed:
            if self._return(item):
                self._release(item)
                for number, part in enumerate(parts):
                    new = Item((*item.place, number), *part)
                    self._hold(new)
                    self._insert(new)
                self._make_room()

    def settle(
        self, item: Item, *, exported: int = 0, rejected: int = 0, code: str = "", dropped: DropReason | None = None
    ) -> None:
        """Count a taken request: ``exported`` and ``rejected`` records, or all of it ``dropped``."""
        with self._changed:
            if not self._return(item):
                return
            if dropped:
                self._drop(item, dropped)
                return
            self._account.exported(exported)
            self._account.rejected(rejected, code)
            self._release(item)

    def wait_empty(self, deadline: float) -> bool:
        """Wait until nothing is pending, at most until ``deadline`` (monotonic, s); tell whether that came true."""
        with self._changed:
            remaining = max(0.0, deadline - time.monotonic())
            return self._changed.wait_for(lambda: not (self._waiting or self._taken), remaining)

    def close(self) -> None:
        """Drop all that is pending as ``shutdown``, also what is being sent: nobody waits for its answer."""
        with self._changed:
            self._closed = True
            for item in [*self._taken.values(), *self._waiting]:
                self._drop(item, "shutdown")
            self._taken.clear()
            self._waiting.clear()
            self._taken_bytes = 0

    def _return(self, item: Item) -> bool:
        """End the taking of an item; False where :meth:`close` already did."""
        if self._taken.pop(item.place, None) is None:
            return False
        self._taken_bytes -= len(item.payload)
        return True

    def _insert(self, item: Item) -> None:
        ahead = next((at for at, other in enumerate(self._waiting) if other.place > item.place), len(self._waiting))
        self._waiting.insert(ahead, item)

    def _make_room(self) -> None:
        while self._held_bytes > self._capacity and self._waiting:
            self._drop(self._waiting.popleft(), "queue_full")

    def _hold(self, item: Item) -> None:
        self._held_bytes += len(item.payload)
        self._pending += item.records
        self._account.held(self._pending, self._held_bytes)

    def _release(self, item: Item) -> None:
        self._held_bytes -= len(item.payload)
        self._pending -= item.records
        self._account.held(self._pending, self._held_bytes)
        self._changed.notify_all()

    def _drop(self, item: Item, reason: DropReason) -> None:
        self._account.dropped(item.records, reason)
        self._release(item)
