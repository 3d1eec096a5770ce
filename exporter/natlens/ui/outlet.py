"""The terminal as an outlet for records."""

import sys
from typing import TextIO

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from natlens.health import Health
from natlens.otlp.request import Request
from natlens.ui.filters import Filters
from natlens.ui.records import read_records
from natlens.ui.table import printer

__all__ = ["TerminalOutlet"]


class TerminalOutlet:
    """An :class:`~natlens.delivery.outlet.Outlet` that prints what the filters let through.

    A reader that is gone (``natlens run | head``) is not a failed export but the end: ``send`` then
    raises ``BrokenPipeError``.
    """

    def __init__(
        self,
        filters: Filters | None = None,
        format: str = "table",  # noqa: A002  # the option's name
        stream: TextIO | None = None,
        health: Health | None = None,
    ) -> None:
        self._filters = filters or Filters()
        self._printer = printer(format, stream or sys.stdout)
        self._health = health or Health()

    def show(self, request: ExportLogsServiceRequest) -> None:
        """Print the records of one request."""
        self._printer.show(record for record in read_records(request) if self._filters.matches(record))

    def send(self, request: Request) -> None:
        """Print the records of one request, and account for them as every outlet does."""
        self._health.add("records_captured", request.records)
        self.show(ExportLogsServiceRequest.FromString(request.data))
        self._health.add("records_exported", request.records)

    def flush(self, deadline: float) -> None:
        """Do nothing: every request is printed and flushed at once."""

    def close(self) -> None:
        """Do nothing: the stream is the caller's."""
