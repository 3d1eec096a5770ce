"""Name the ends of connections: each different address, or address and port, is asked for once a window."""

from collections.abc import Collection
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from natlens.flows.connection import Nat
from natlens.flows.hashing import distinct, one_of
from natlens.flows.tuples import address_text, words
from natlens.identity.endpoint import UNKNOWN, Endpoint, Identity
from natlens.identity.ends import End, Ends

__all__ = ["Anonymous", "name_ends"]

Rows = npt.NDArray[np.void]
Array = npt.NDArray[np.int64]
Codes = npt.NDArray[np.intp]
Some = TypeVar("Some", int, Array)


class Anonymous:
    """An :class:`Identity` that knows nobody: where no source of names is configured."""

    def endpoint(self, address: str, port: int, transport: int, at_ns: int) -> Endpoint:  # noqa: ARG002
        """Return :data:`UNKNOWN`."""
        return UNKNOWN

    def ports(self, address: str) -> Collection[tuple[int, int]]:  # noqa: ARG002
        """Return none: no port changes the answer."""
        return ()

    def refresh(self) -> bool:
        """Return False: nothing ever changes."""
        return False


class _Asked(NamedTuple):
    """Ends of all roles in one column; ``at`` says of which connection each is."""

    at: Array
    packed: npt.NDArray[np.uint64]  # shape (m, 3): the address' two words, the family
    port: Array
    transport: Array


def name_ends(connections: Rows, identity: Identity) -> tuple[Ends, Ends, Ends, Ends]:
    """Return what the source, the destination, and each after translation, was.

    ``connections`` has dtype CONNECTION. An end that was not translated has no entry in the third and fourth.
    """
    everyone, nat = np.arange(len(connections)), connections["nat"]
    asked = [
        (connections["original"], "src", everyone),
        (connections["original"], "dst", everyone),
        (connections["translated"], "src", np.flatnonzero(nat & Nat.SNAT)),
        (connections["translated"], "dst", np.flatnonzero(nat & Nat.DNAT)),
    ]
    together = _Asked(*map(np.concatenate, zip(*(_asked(*one) for one in asked), strict=True)))
    codes, each = _resolve(together, identity, connections["end_ns"])
    ends = []
    borders = np.cumsum([len(at) for *_, at in asked])[:-1]
    for (*_, at), found in zip(asked, np.split(codes, borders), strict=True):
        of = np.full(len(connections), -1, np.intp)
        of[at] = found
        ends.append(Ends.of(of, each))
    source, destination, source_nat, destination_nat = ends
    return source, destination, source_nat, destination_nat


def _asked(tuples: Rows, side: str, at: Array) -> _Asked:
    chosen = np.take(np.ascontiguousarray(tuples), at)
    first = 0 if side == "src" else 2
    packed = np.column_stack([words(chosen)[:, first : first + 2], chosen["family"].astype(np.uint64)])
    port = chosen["sport" if side == "src" else "dport"]
    return _Asked(at, packed, port.astype(np.int64), chosen["proto"].astype(np.int64))


def _resolve(asked: _Asked, identity: Identity, end_ns: Array) -> tuple[Codes, list[End]]:
    """Return codes, and the ends that they stand for.

    An address has one code with any port, and one more with each port that is told apart and was seen.
    """
    first, codes = distinct(asked.packed)
    addresses = [_text(row) for row in asked.packed[first].tolist()]
    ports = np.zeros(len(first), np.int64)
    told = [_place(code, *port) for code, address in enumerate(addresses) for port in identity.ports(address)]
    if told:
        place = _place(codes, asked.port, asked.transport)
        apart = np.flatnonzero(one_of(place, np.sort(told)))
        _, seen_first, which = np.unique(place[apart], return_index=True, return_inverse=True)
        addresses += [addresses[code] for code in codes[apart[seen_first]].tolist()]
        first, ports = np.r_[first, apart[seen_first]], np.r_[ports, asked.port[apart[seen_first]]]
        codes[apart] = len(first) - len(seen_first) + which
    times = end_ns[asked.at[first]]
    questions = zip(addresses, ports.tolist(), asked.transport[first].tolist(), times.tolist(), strict=True)
    return codes, [End(question[0], identity.endpoint(*question)) for question in questions]


def _place(code: Some, port: Some, transport: Some) -> Some:
    """Return an address' code, a port and a transport as one number."""
    return code << 24 | port << 8 | transport


def _text(row: list[int]) -> str:
    high, low, family = row
    return address_text(high.to_bytes(8, "little") + low.to_bytes(8, "little"), family)
