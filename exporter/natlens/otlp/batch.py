"""What the record encoder takes: connections and what their addresses were."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from natlens.identity.endpoint import Endpoint

__all__ = ["ROLES", "Batch", "Endpoints"]

Endpoints = Sequence[Endpoint | None]

ROLES = {
    "source": "source",
    "destination": "destination",
    "source.nat": "source_nat",
    "destination.nat": "destination_nat",
}
"""Prefix of an endpoint's attributes → the :class:`Batch` column that holds the endpoints."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Connections of one interval; every column has one entry a connection, in the same order."""

    connections: npt.NDArray[np.void]
    """Shape (n,), dtype :data:`natlens.flows.connection.CONNECTION`."""
    source: Endpoints
    """The initiator; None where nothing was asked."""
    destination: Endpoints
    """What the initiator dialled."""
    source_nat: Endpoints
    """What the source became; None where it is not translated."""
    destination_nat: Endpoints
    """What the destination became; None where it is not translated."""
    interface_names: Mapping[int, str]
    """ifindex → name; an interface that is gone may be missing."""
    interval_end_ns: int
    """Unix time: the records' timestamp."""
    observed_ns: int
    """Unix time, set once: whatever is sent again must be identical to the byte."""

    def __post_init__(self) -> None:
        """Raise ``ValueError`` where the columns differ in length."""
        wrong = [name for name in ROLES.values() if len(getattr(self, name)) != len(self)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: one entry for each of the {len(self)} connections is needed")

    def __len__(self) -> int:
        """Return the number of connections."""
        return len(self.connections)

    def parts(self, records: int = 1000) -> Iterator["Batch"]:
        """Yield the batch in parts of at most ``records``: messages cost some 20 kB a record while they are made."""
        for at in range(0, len(self), records):
            part = slice(at, at + records)
            columns = {name: getattr(self, name)[part] for name in ("connections", *ROLES.values())}
            yield replace(self, **columns)
