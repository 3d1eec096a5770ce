"""The sending outlet of one signal: a queue, and one thread that empties it over a transport."""

import threading
import time

from natlens.delivery.account import Account
from natlens.delivery.compression import Codec
from natlens.delivery.courier import Courier
from natlens.delivery.exchange import Binding, Transport
from natlens.delivery.queue import Queue
from natlens.delivery.retry import Backoff
from natlens.delivery.schedule import Schedule
from natlens.health import Health
from natlens.otlp.request import REQUEST_BYTES, Request, Signal

__all__ = ["Sender"]

STOP_S = 1.0
"""How long the thread is waited for; what it may still do then is wait for a name server."""


class Sender:
    """An :class:`~natlens.delivery.outlet.Outlet` that queues in memory and retries until it is stopped.

    Oldest first: receivers such as Loki refuse what is far behind the newest. A request that is sent
    again has the same bytes. ``target`` names the receiver in messages; the transport becomes the
    thread's own, which also closes it. All requests are of one ``signal``.
    """

    def __init__(
        self,
        target: str,
        binding: Binding,
        transport: Transport,
        codec: Codec,
        health: Health,
        *,
        signal: Signal = "logs",
        queue_bytes: int = 64 << 20,
        request_bytes: int = REQUEST_BYTES,
        requests_in_flight: int = 4,
        backoff: Backoff | None = None,
    ) -> None:
        self._transport, self._codec = transport, codec
        self._account = Account(health, signal)
        self._queue = Queue(queue_bytes, self._account)
        self._request_bytes = request_bytes
        schedule = Schedule(backoff or Backoff(), requests_in_flight)
        self._courier = Courier(target, binding, transport, codec, schedule, self._account)
        self._hurry = threading.Event()  # flush: a running backoff ends early
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"natlens-{signal}", daemon=True)
        self._thread.start()

    def send(self, request: Request) -> None:
        """Compress and queue the records, in requests under the limit; a record over it is dropped as ``too_large``."""
        limit = min(self._request_bytes, self._courier.limit_bytes or self._request_bytes)
        if len(request.data) <= limit:
            self._put(request)
        else:
            from natlens.delivery.halve import within  # protobuf's messages, which no other request needs

            for part in within(request, limit):
                self._put(part)
        self._transport.wake()

    def _put(self, request: Request) -> None:
        if len(request.data) > self._request_bytes:
            self._account.captured(request.records)
            self._account.dropped(request.records, "too_large")
        else:
            self._queue.put(self._codec.compress(request.data), len(request.data), request.records)

    def flush(self, deadline: float) -> None:
        """Send what is pending until ``deadline`` (``time.monotonic()``, s), drop the rest as ``shutdown``.

        A request whose answer is outstanding at the deadline counts as dropped: it may have arrived.
        """
        self._hurry.set()
        self._transport.wake()
        self._queue.wait_empty(deadline)
        self._stop()

    def close(self) -> None:
        """Stop the thread, which closes the transport; what is pending is dropped as ``shutdown``."""
        self._stop()

    def _stop(self) -> None:
        self._stopping.set()
        self._queue.close()
        self._transport.wake()
        self._thread.join(STOP_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self._hurry.is_set():
                self._hurry.clear()
                self._courier.hurry(time.monotonic())
            wait_s = self._courier.start(self._queue, time.monotonic())
            for token, result in self._transport.wait(wait_s):
                self._courier.settle(self._queue, token, result, time.monotonic())
        self._transport.close()
