"""One HTTP exchange: what a binding asks for and what the transport brings back, without I/O."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from natlens.delivery.retry import Outcome

__all__ = ["Answer", "Binding", "Failure", "HttpRequest", "Transport", "one_line"]

LONGEST_TEXT = 300


class HttpRequest(NamedTuple):
    """A POST request."""

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer: HTTP status, headers and trailers by lower-case name, and the body's first 64 KiB."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Failure:
    """No complete answer came; ``code`` is how gRPC calls that, and counters."""

    code: str
    message: str


class Binding(Protocol):
    """OTLP over one transport protocol: makes requests, reads answers."""

    def request(self, payload: bytes) -> HttpRequest:
        """Return what sends ``payload``, a serialized and compressed request."""
        ...

    def outcome(self, answer: Answer) -> Outcome:
        """Return what an answer means; raises nothing, whatever the other side said."""
        ...


class Transport(Protocol):
    """Runs exchanges at the same time; used by one thread, but for :meth:`wake`."""

    def start(self, request: HttpRequest, token: int) -> None:
        """Begin an exchange whose end :meth:`wait` reports under ``token``."""
        ...

    def wait(self, timeout_s: float | None) -> list[tuple[int, Answer | Failure]]:
        """Return what has ended, as soon as something has, after ``timeout_s`` or after :meth:`wake`."""
        ...

    def wake(self) -> None:
        """Make :meth:`wait` return, in this call or the next; may be called from any thread."""
        ...

    def close(self) -> None:
        """Abort what runs, without reporting it, and let go of the connections."""
        ...


def one_line(text: str) -> str:
    """Return what a stranger wrote as one printable line of at most 300 characters."""
    cut = text.strip()[: LONGEST_TEXT + 1]
    line = "".join(char if char.isprintable() else " " for char in cut)
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"
