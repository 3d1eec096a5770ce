"""The table of natlens' own metrics: instruments, documentation and alert rules follow from it.

To add a metric of what a layer adds to Health, add one row in the part that it belongs to. A row that has an alert
tells what to do; one that has none tells why. A counter that is added to ``bpf/types.h`` needs no row: ``kernel_*``
has it.
"""

from natlens.telemetry.capture_rows import CAPTURE
from natlens.telemetry.delivery_rows import DELIVERY
from natlens.telemetry.identity_rows import IDENTITY
from natlens.telemetry.process_rows import PROCESS
from natlens.telemetry.row import Metric, Source
from natlens.telemetry.series_rows import SERIES

__all__ = ["METRICS", "find"]

METRICS: list[Metric] = [*CAPTURE, *IDENTITY, *SERIES, *DELIVERY, *PROCESS]
"""Every metric, in the order in which it is documented. Of sources that fit a name the first is its."""


def find(name: str) -> tuple[Metric, Source, str] | None:
    """Return which metric and source a name of Health belongs to, and what its ``*`` stands for."""
    for metric in METRICS:
        for source in metric.sources:
            if (rest := source.match(name)) is not None:
                return metric, source, rest
    return None
