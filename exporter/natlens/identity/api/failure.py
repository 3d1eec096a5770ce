"""What can become of a request but its answer."""

from dataclasses import dataclass

__all__ = ["Failure"]


@dataclass(eq=False)
class Failure(Exception):
    """A request without its whole answer; :mod:`natlens.identity.api.reflector` says what follows from it.

    ``code``: an HTTP status as text, or one of ``connect``, ``tls``, ``timeout``, ``truncated``, ``garbage``,
    ``silent``, ``reordered``, ``credentials``, ``stopped``, ``internal``.
    """

    code: str
    message: str
    status: int | None = None
    """The status: of HTTP, or that of an ERROR event."""
    retry_after_s: float | None = None
    """Seconds that the server asks to wait."""
    event: bool = False
    """It came as an ERROR event, within a watch."""
    too_large: bool = False
    """The server has not reached the version that was asked for ("Too large resource version")."""

    def __str__(self) -> str:
        """Return the message alone."""
        return self.message
