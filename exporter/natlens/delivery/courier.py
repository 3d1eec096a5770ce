"""What a sender does with each request and each answer, without a thread or a socket of its own."""

import logging
from itertools import count

from natlens.delivery.account import Account
from natlens.delivery.compression import Codec
from natlens.delivery.exchange import Answer, Binding, Failure, Transport
from natlens.delivery.queue import Item, Queue
from natlens.delivery.retry import Delivered, Outcome, Refused, Retry, TooLarge
from natlens.delivery.schedule import Schedule
from natlens.delivery.throttle import Throttle
from natlens.otlp.request import Request

__all__ = ["Courier"]

log = logging.getLogger(__name__)

LEAST_LIMIT = 128 << 10
"""Bytes below which no limit of a receiver is remembered: each size it refuses costs a request."""


class Courier:
    """Takes requests from the queue, oldest first, and settles each by its answer."""

    def __init__(
        self, target: str, binding: Binding, transport: Transport, codec: Codec, schedule: Schedule, account: Account
    ) -> None:
        self._target = target
        self._binding, self._transport, self._codec = binding, transport, codec
        self._schedule = schedule
        self._account = account
        self._tokens = count()
        self._running: dict[int, tuple[Item, float]] = {}
        self._retries, self._refusals, self._sizes = Throttle(), Throttle(), Throttle()
        self.limit_bytes: int | None = None
        """Size of a request, before compression, over which it is cut before it is sent; None: nothing was refused."""

    def start(self, queue: Queue, now: float) -> float | None:
        """Start what may start; return the seconds after which to come again, None for "when something happens"."""
        while self._schedule.room(now, len(self._running)) > 0 and (item := queue.take()):
            if self.limit_bytes and item.size > self.limit_bytes and item.records > 1:
                self._halve(queue, item)  # queued before the limit was known
                continue
            token = next(self._tokens)
            self._running[token] = item, now
            self._schedule.started()
            self._transport.start(self._binding.request(item.payload), token)
        return self._schedule.wait_s(now)

    def settle(self, queue: Queue, token: int, result: Answer | Failure, now: float) -> None:
        """Deal with the end of an exchange."""
        item, started = self._running.pop(token)
        self._account.exchanged(now - started)
        outcome = _outcome(self._binding, result)
        if isinstance(outcome, Retry):
            self._retry(queue, item, outcome, now)
            return
        self._schedule.answered()
        match outcome:
            case Delivered(rejected, message):
                self._delivered(queue, item, rejected, message)
            case Refused(code, message):
                self._warn_refused(item.records, code, message)
                queue.settle(item, rejected=item.records, code=code)
            case TooLarge(code, message):
                self._too_large(queue, item, code, message)

    def hurry(self, now: float) -> None:
        """Try at once what waits for a backoff of our own."""
        self._schedule.hurry(now)

    def _delivered(self, queue: Queue, item: Item, rejected: int, message: str) -> None:
        rejected = min(max(rejected, 0), item.records)
        if rejected:
            self._warn_refused(rejected, "partial_success", message)
        elif message and self._refusals.due():
            log.warning("%s took %d %s and says: %s", self._target, item.records, self._account.unit, message)
        queue.settle(item, exported=item.records - rejected, rejected=rejected, code="partial_success")

    def _retry(self, queue: Queue, item: Item, retry: Retry, now: float) -> None:
        self._account.retried(retry.code)
        self._schedule.failed(now, retry.after_s)
        queue.give_back(item)
        if self._retries.due():
            words = self._target, retry.code, retry.message, queue.pending, self._account.unit
            log.warning("%s: %s: %s; retrying, %d %s wait", *words)

    def _too_large(self, queue: Queue, item: Item, code: str, message: str) -> None:
        """Send the halves instead; what cannot be halved is rejected."""
        if item.records == 1:
            self._warn_refused(1, "too_large", message)
            queue.settle(item, rejected=1, code="too_large")
            return
        # Not half: the halves of such requests differ, and each has resource and scope.
        self.limit_bytes = max(min(item.size * 3 // 4, self.limit_bytes or item.size), LEAST_LIMIT)
        if self._sizes.due():
            words = self._target, item.records, self._account.unit, item.size, code, message
            log.warning("%s: %d %s in %d bytes are too much at once: %s: %s; sending less", *words)
        self._halve(queue, item)

    def _halve(self, queue: Queue, item: Item) -> None:
        from natlens.delivery.halve import halve  # protobuf's messages, which no other request needs

        halves = halve(Request(self._codec.decompress(item.payload), item.records, self._account.signal))
        queue.divide(item, [(self._codec.compress(half.data), len(half.data), half.records) for half in halves])

    def _warn_refused(self, records: int, code: str, message: str) -> None:
        if self._refusals.due():
            log.warning("%s refused %d %s: %s: %s", self._target, records, self._account.unit, code, message)


def _outcome(binding: Binding, result: Answer | Failure) -> Outcome:
    return binding.outcome(result) if isinstance(result, Answer) else Retry(result.code, result.message)
