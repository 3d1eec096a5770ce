"""What the record encoder takes: connections and what their addresses were."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from natlens.flows.columns import gather
from natlens.identity.ends import Ends
from natlens.identity.standing import Standing

__all__ = ["ROLES", "Batch", "Trace"]

ROLES = {
    "source": "source",
    "destination": "destination",
    "source.nat": "source_nat",
    "destination.nat": "destination_nat",
}
"""Prefix of an endpoint's attributes → the :class:`Batch` column that holds the endpoints."""


class Trace(NamedTuple):
    """The spans that records belong to."""

    trace_id: npt.NDArray[np.uint8]
    """Shape (n, 16)."""
    span_id: npt.NDArray[np.uint8]
    """Shape (n, 8)."""
    sampled: npt.NDArray[np.bool_]
    """Shape (n,): whether the span is really sent; elsewhere the record carries no ids."""

    def take(self, rows: npt.NDArray[np.intp]) -> "Trace":
        """Return the spans of the records ``rows``."""
        return Trace(self.trace_id[rows], self.span_id[rows], self.sampled[rows])


@dataclass(frozen=True, slots=True)
class Batch:
    """Connections of one interval; every column has one entry a connection, in the same order."""

    connections: npt.NDArray[np.void]
    """Shape (n,), dtype :data:`natlens.flows.connection.CONNECTION`."""
    source: Ends
    """The initiator."""
    destination: Ends
    """What the initiator dialled."""
    source_nat: Ends
    """What the source became; none where it is not translated."""
    destination_nat: Ends
    """What the destination became; none where it is not translated."""
    interface_names: Mapping[int, str]
    """ifindex → name; an interface that is gone may be missing."""
    interval_end_ns: int
    """Unix time: the records' timestamp."""
    observed_ns: int
    """Unix time, set once: whatever is sent again must be identical to the byte."""
    standing: Standing | None = None
    """Where this node stands towards each connection; None where nobody asked."""
    trace: Trace | None = None
    """Which span each record belongs to; None where there are no spans."""
    sampling_rate: int = 1
    """Of how many connections these are one; 1: all are here."""

    def __post_init__(self) -> None:
        """Raise ``ValueError`` where the columns differ in length."""
        columns = {name: getattr(self, name).codes for name in ROLES.values()}
        if self.standing is not None:
            columns |= {f"standing.{name}": column for name, column in self.standing._asdict().items()}
        if self.trace is not None:
            columns |= {f"trace.{name}": column for name, column in self.trace._asdict().items()}
        wrong = [name for name, column in columns.items() if len(column) != len(self)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: one entry for each of the {len(self)} connections is needed")

    def __len__(self) -> int:
        """Return the number of connections."""
        return len(self.connections)

    @property
    def counts(self) -> npt.NDArray[np.bool_]:
        """Whether each record is the one that counts, shape (n,): the primary one, or nobody knows which is."""
        if self.standing is None:
            return np.ones(len(self), np.bool_)
        counts: npt.NDArray[np.bool_] = self.standing.primary | (self.standing.reporter == 0)
        return counts

    def by_ends(self, most: int = 1 << 62) -> Iterator["Batch"]:
        """Yield the same connections in parts of ``most``, those of the same ends side by side.

        So they compress to six tenths (ADR 9).
        """
        order = self.order()
        for at in range(0, len(self), most):
            yield self.take(order[at : at + most])

    def order(self) -> npt.NDArray[np.intp]:
        """Return the rows, those of the same ends side by side."""
        key = np.zeros(len(self), np.int64)
        for ends in (self.source, self.destination, self.destination_nat):
            key = key * len(ends.each) + ends.codes  # may wrap: then some stand elsewhere
        return np.argsort(key)

    def take(self, rows: npt.NDArray[np.intp]) -> "Batch":
        """Return the connections ``rows``, as a batch that shares no connection with this one."""
        return replace(
            self,
            connections=gather(self.connections, rows),
            standing=self.standing and Standing(self.standing.reporter[rows], self.standing.primary[rows]),
            trace=self.trace and self.trace.take(rows),
            **{role: getattr(self, role).take(rows) for role in ROLES.values()},
        )
