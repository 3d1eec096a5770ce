"""Name the ends of connections: each different address and port is asked for once a batch."""

import numpy as np
import numpy.typing as npt

from natlens.flows.connection import Nat
from natlens.flows.tuples import address_text
from natlens.identity.endpoint import UNKNOWN, Endpoint, Identity

__all__ = ["Anonymous", "name_ends"]

Names = list[Endpoint | None]


class Anonymous:
    """An :class:`Identity` that knows nobody: where no source of names is configured."""

    def endpoint(self, address: str, port: int, transport: int, at_ns: int) -> Endpoint:  # noqa: ARG002
        """Return :data:`UNKNOWN`."""
        return UNKNOWN

    def refresh(self) -> bool:
        """Return False: nothing ever changes."""
        return False


def name_ends(connections: npt.NDArray[np.void], identity: Identity) -> tuple[Names, Names, Names, Names]:
    """Return what the source, the destination, and each after translation, was: four lists as long as ``connections``.

    ``connections`` has dtype CONNECTION. An end that was not translated is None in the third and fourth list.
    """
    known: dict[tuple[bytes, int, int, int], Endpoint] = {}

    def ask(tuples: npt.NDArray[np.void], address: str, port: str) -> list[Endpoint]:
        names = []
        columns = (tuples[address], tuples[port], tuples["proto"], tuples["family"], connections["end_ns"])
        for packed, number, transport, family, at_ns in zip(*(column.tolist() for column in columns), strict=True):
            key = bytes(packed), number, transport, family
            if key not in known:
                known[key] = identity.endpoint(address_text(key[0], family), number, transport, at_ns)
            names.append(known[key])
        return names

    def where(bit: Nat, names: list[Endpoint]) -> Names:
        changed = (connections["nat"] & bit).astype(bool).tolist()
        return [one if flag else None for one, flag in zip(names, changed, strict=True)]

    original, translated = connections["original"], connections["translated"]
    return (
        list(ask(original, "src", "sport")),
        list(ask(original, "dst", "dport")),
        where(Nat.SNAT, ask(translated, "src", "sport")),
        where(Nat.DNAT, ask(translated, "dst", "dport")),
    )
