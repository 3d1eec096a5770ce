"""A binding and transports without a network, for the rules of sending alone."""

import threading
from collections import deque
from collections.abc import Iterable
from queue import Empty, SimpleQueue

from natlens.delivery.exchange import Answer, Failure, HttpRequest
from natlens.delivery.retry import Delivered, Outcome

__all__ = ["Plain", "Scripted", "Told"]


class Plain:
    """A binding of outcomes: an answer's status is the number of one."""

    def __init__(self) -> None:
        self._outcomes: list[Outcome] = []

    def request(self, payload: bytes) -> HttpRequest:
        return HttpRequest("", (), payload)

    def answer(self, outcome: Outcome) -> Answer:
        self._outcomes.append(outcome)
        return Answer(len(self._outcomes) - 1, {})

    def outcome(self, answer: Answer) -> Outcome:
        return self._outcomes[answer.status]


class Told:
    """A transport that only remembers what was started."""

    def __init__(self) -> None:
        self.running: dict[int, bytes] = {}

    def start(self, request: HttpRequest, token: int) -> None:
        self.running[token] = request.body

    def wait(self, timeout_s: float | None) -> list[tuple[int, Answer | Failure]]:
        raise NotImplementedError

    def wake(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Scripted:
    """A transport in threads' time: answers ``outcomes`` in order, at once, and then delivers; None never answers."""

    def __init__(self, outcomes: Iterable[Outcome | None] = ()) -> None:
        self.binding = Plain()
        self.outcomes = deque(outcomes)
        self.bodies: list[bytes] = []
        self.closed = threading.Event()
        self._events: SimpleQueue[tuple[int, Answer | Failure] | None] = SimpleQueue()

    def start(self, request: HttpRequest, token: int) -> None:
        self.bodies.append(request.body)
        outcome = self.outcomes.popleft() if self.outcomes else Delivered()
        if outcome is not None:
            self._events.put((token, self.binding.answer(outcome)))

    def wait(self, timeout_s: float | None) -> list[tuple[int, Answer | Failure]]:
        try:
            event = self._events.get(timeout=timeout_s)
        except Empty:
            return []
        return [event] if event else []

    def wake(self) -> None:
        self._events.put(None)

    def close(self) -> None:
        self.closed.set()
