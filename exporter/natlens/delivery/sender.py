"""The sending outlet: one thread drains the queue through a client, whatever its transport."""

import logging
import threading
from typing import Protocol

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from natlens.delivery.queue import Encoded, Queue
from natlens.delivery.retry import Backoff, Delivered, Outcome, Refused, Retry
from natlens.delivery.throttle import Throttle
from natlens.health import Health
from natlens.otlp.record import REQUEST_BYTES, records, split

__all__ = ["Client", "Sender"]

log = logging.getLogger(__name__)

STOP_S = 5.0


class Client(Protocol):
    """One export after another over some transport."""

    target: str
    """Where it sends, for messages."""

    def export(self, payload: bytes) -> Outcome:
        """Send one serialized request and wait for the answer; raises nothing."""
        ...

    def close(self) -> None:
        """End a running export with an outcome and let go of the connection; called from another thread."""
        ...


class Sender:
    """An :class:`~natlens.delivery.outlet.Outlet` that queues in memory and retries until it is stopped.

    Oldest first, one request at a time: receivers such as Loki refuse what is far behind the newest.
    """

    def __init__(
        self,
        client: Client,
        health: Health,
        *,
        queue_bytes: int = 64 << 20,
        request_bytes: int = REQUEST_BYTES,
        backoff: Backoff | None = None,
    ) -> None:
        self._client = client
        self._health = health
        self._queue = Queue(queue_bytes, health)
        self._request_bytes = request_bytes
        self._backoff = backoff or Backoff()
        self._hurry = threading.Event()  # flush: a running backoff ends early
        self._stopping = threading.Event()  # nothing is sent any more
        self._retries, self._refusals = Throttle(), Throttle()
        self._thread = threading.Thread(target=self._run, name="natlens-sender", daemon=True)
        self._thread.start()

    def send(self, request: ExportLogsServiceRequest) -> None:
        """Queue the records, in requests under the limit; a record over it alone is dropped as ``too_large``."""
        parts, oversized = split(request, self._request_bytes)
        self._health.add("records_captured", len(oversized))
        self._health.add("records_dropped", len(oversized), reason="too_large")
        for part in parts:
            if count := sum(1 for _ in records(part)):
                self._queue.put(Encoded(part.SerializeToString(), count))

    def flush(self, deadline: float) -> None:
        """Send what is pending until ``deadline`` (``time.monotonic()``, s), drop the rest as ``shutdown``.

        A request whose answer is outstanding at the deadline counts as dropped: it may have arrived.
        """
        self._hurry.set()
        self._queue.wait_empty(deadline)
        self._stop()

    def close(self) -> None:
        """Stop the thread and the client; what is pending is dropped as ``shutdown``."""
        self._stop()

    def _stop(self) -> None:
        self._stopping.set()
        self._hurry.set()
        self._queue.close()
        self._client.close()
        self._thread.join(STOP_S)

    def _run(self) -> None:
        while (item := self._queue.take()) is not None:
            self._deliver(item)

    def _deliver(self, item: Encoded) -> None:
        attempt = 0
        while not self._stopping.is_set():
            match self._client.export(item.payload):
                case Delivered(rejected, message):
                    self._delivered(item, rejected, message)
                    return
                case Refused(code, message):
                    self._warn_refused(item.records, code, message)
                    self._queue.settle(rejected=item.records, code=code)
                    return
                case Retry() as retry:
                    attempt = 0 if self._pause(retry, attempt) else attempt + 1
        self._queue.settle(dropped="shutdown")

    def _delivered(self, item: Encoded, rejected: int, message: str) -> None:
        rejected = min(max(rejected, 0), item.records)
        if rejected or message:
            self._warn_refused(rejected, "partial_success", message)
        self._queue.settle(exported=item.records - rejected, rejected=rejected, code="partial_success")

    def _pause(self, retry: Retry, attempt: int) -> bool:
        """Wait before the next attempt; tell whether a flush or stop cut that short."""
        if self._stopping.is_set():
            return True
        self._health.add("export_retries", code=retry.code)
        if self._retries.due():
            log.warning(
                "%s: %s: %s; retrying, %d records wait",
                self._client.target,
                retry.code,
                retry.message,
                self._queue.pending,
            )
        # A flush ends a wait of our own, not one the server asked for.
        wake = self._stopping if self._hurry.is_set() or retry.after_s else self._hurry
        return wake.wait(self._backoff.delay(attempt, retry.after_s))

    def _warn_refused(self, count: int, code: str, message: str) -> None:
        if self._refusals.due():
            log.warning("%s refused %d records: %s: %s", self._client.target, count, code, message)
