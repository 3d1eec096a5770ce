"""The table of flow metrics: aggregation, encoder, documentation and registry follow from it.

To add a metric from data that is already there, add one row.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from natlens.flows.connection import EndReason
from natlens.otlp.columns import LARGEST

__all__ = ["DIRECTION", "METRICS", "Direction", "Metric", "Read"]

Direction = Literal["forward", "reverse"]
Read = Callable[[npt.NDArray[np.void]], npt.NDArray[Any]]

DIRECTION = "flow.direction"
"""The attribute that tells the points of a metric with two directions apart."""


class Metric(NamedTuple):
    """What a metric is called, what it means, and what each connection (dtype CONNECTION) adds to it."""

    name: str
    kind: Literal["sum", "histogram"]
    unit: str
    brief: str
    read: Read
    """Shape (n,): int64 ≥ 0 of a sum; float64 of a histogram, NaN where there is nothing to record."""
    reverse: Read | None = None
    """The same from responder to initiator; None where the metric has no direction."""

    @property
    def directions(self) -> tuple[tuple[Direction | None, Read], ...]:
        """What ``flow.direction`` may be, and how that is read; None is without the attribute."""
        if self.reverse is None:
            return ((None, self.read),)
        return (("forward", self.read), ("reverse", self.reverse))


def _field(name: str) -> Read:
    return lambda connections: np.minimum(connections[name], LARGEST).astype(np.int64)  # as the log record has it


def _new(connections: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    first: npt.NDArray[np.bool_] = connections["sequence"] == 0
    return first.astype(np.int64)


def _duration(connections: npt.NDArray[np.void]) -> npt.NDArray[np.float64]:
    lasted = np.maximum(connections["end_ns"] - connections["start_ns"], 0) / 1e9  # a histogram's sum never falls
    return np.where(connections["end_reason"] == EndReason.ACTIVE_TIMEOUT, np.nan, lasted)


METRICS: list[Metric] = [
    Metric(
        "flow.io",
        "sum",
        "By",
        "Octets of connections: IP header and payload of every segment (IPFIX IE 1).",
        _field("forward_octets"),
        _field("reverse_octets"),
    ),
    Metric(
        "flow.packet.count",
        "sum",
        "{packet}",
        "Segments of connections.",
        _field("forward_packets"),
        _field("reverse_packets"),
    ),
    Metric("flow.connection.count", "sum", "{connection}", "New connections.", _new),
    Metric("flow.duration", "histogram", "s", "From first to last packet of connections that ended.", _duration),
]
"""Every flow metric, in the order in which it is documented."""
