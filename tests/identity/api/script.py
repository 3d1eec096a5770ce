"""What the API server of the tests is told to do wrong."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.identity.api.encode import Manifest

__all__ = ["Answer", "Drip", "Hang", "Play", "Refuse", "Request", "Reset", "Script", "Serve"]


@dataclass(frozen=True)
class Serve:
    """Answer as an API server does; cut the answer off after so many bytes of its body."""

    cut_after_bytes: int | None = None
    changed: bytes | None = None
    """This body instead."""
    content_type: str | None = None


@dataclass(frozen=True)
class Refuse:
    """An HTTP status with a Status as its body."""

    code: int
    message: str = "told to refuse"
    retry_after: str | None = None
    details_retry_after_s: int = 0
    causes: tuple[str, ...] = ()
    location: str | None = None


@dataclass(frozen=True)
class Hang:
    """Never answer; with ``after_headers`` begin to."""

    after_headers: bool = False


@dataclass(frozen=True)
class Drip:
    """Begin a watch, and send a byte of an endless event now and then."""

    every_s: float


@dataclass(frozen=True)
class Reset:
    """Close the connection instead of answering."""


@dataclass(frozen=True)
class Play:
    """Answer a watch with just these events (type, object), then end it properly, cut it off, or leave it open."""

    events: tuple[tuple[str, Manifest], ...] = ()
    then: str = "end"
    """end, cut, or stay."""


Answer = Serve | Refuse | Hang | Drip | Reset | Play


@dataclass(frozen=True)
class Request:
    """One that came."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    at_s: float = field(default_factory=time.monotonic)

    @property
    def watch(self) -> bool:
        """Return whether it is a watch."""
        return self.query.get("watch") == "1"


class Script:
    """Answers for each path and verb ("list", "watch"), given in order; after that all is served."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], deque[Answer]] = defaultdict(deque)
        self.forever: dict[tuple[str, str], Answer] = {}
        """What is answered for ever instead."""
        self.requests: list[Request] = []
        self.admitted: str | None = None
        """The only one that is let in; None: everybody."""
        self.leaving = threading.Event()
        self._lock = threading.Lock()

    def add(self, verb: str, path: str, answers: Iterable[Answer]) -> None:
        """Give the next answers of a path."""
        with self._lock:
            self._answers[verb, path].extend(answers)

    def take(self, request: Request) -> Answer:
        """Note a request and return its answer."""
        key = "watch" if request.watch else "list", request.path
        with self._lock:
            self.requests.append(request)
            if (
                self.admitted is not None
                and request.headers.get("authorization", "").lower() != f"bearer {self.admitted}"
            ):
                return Refuse(401, "Unauthorized")
            return self._answers[key].popleft() if self._answers[key] else self.forever.get(key, Serve())

    def of(self, verb: str, path: str) -> list[Request]:
        """Return the requests of a path and verb that came."""
        with self._lock:
            return [one for one in self.requests if one.path == path and one.watch == (verb == "watch")]
