"""The outlet: what the pipeline hands encoded records to."""

from typing import Protocol

from natlens.otlp.request import Request

__all__ = ["Outlet"]


class Outlet(Protocol):
    """Takes requests and accounts for what is in them: an OTLP receiver, a file of JSON lines, the terminal's table."""

    def send(self, request: Request) -> None:
        """Take what is in one request; never blocks on a network and never raises for a failed export."""
        ...

    def flush(self, deadline: float) -> None:
        """Deliver what is pending until ``deadline`` (``time.monotonic()``, seconds), drop and count the rest.

        The last thing before :meth:`close`: records sent later are dropped and counted.
        """
        ...

    def close(self) -> None:
        """Let go of threads, sockets and files; without :meth:`flush` what is pending is dropped and counted."""
        ...
