"""Name the ends of connections: each different address, or address and port, is asked for once a window."""

from collections.abc import Collection, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from natlens.flows.connection import Nat
from natlens.flows.hashing import distinct, one_of
from natlens.flows.tuples import TUPLE, address_text, words
from natlens.identity.endpoint import UNKNOWN, Endpoint, Identity
from natlens.identity.ends import End, Ends

__all__ = ["Anonymous", "FourEnds", "name_ends"]

Rows = npt.NDArray[np.void]
Array = npt.NDArray[np.int64]
Codes = npt.NDArray[np.intp]
Words = npt.NDArray[np.uint64]
FourEnds = tuple[Ends, Ends, Ends, Ends]
"""Of source, destination, source after translation, destination after translation."""
Some = TypeVar("Some", int, Array)


class Anonymous:
    """An :class:`Identity` that knows nobody and no history: where no source of names is configured."""

    def endpoint(self, address: str, port: int, transport: int, at_ns: int) -> Endpoint:  # noqa: ARG002
        """Return :data:`UNKNOWN`."""
        return UNKNOWN

    def ports(self, address: str) -> Collection[tuple[int, int]]:  # noqa: ARG002
        """Return none: no port changes the answer."""
        return ()

    def borders(self, address: str, begin_ns: int, end_ns: int) -> Sequence[int]:  # noqa: ARG002
        """Return none: nothing ever changes."""
        return ()

    @property
    def wait_ns(self) -> int:
        """Nothing is to be waited for."""
        return 0

    def refresh(self) -> bool:
        """Return False: nothing ever changes."""
        return False

    def standing(self, connections: Rows, ends: "FourEnds") -> None:
        """Return None: nobody says that this is a node."""

    def observer(self) -> dict[str, str]:
        """Return nothing."""
        return {}

    @property
    def ready(self) -> bool:
        """Return True: there is nothing to begin with."""
        return True

    @property
    def bells(self) -> tuple[()]:
        """Nothing rings."""
        return ()

    def close(self) -> None:
        """Do nothing."""


class _Asked(NamedTuple):
    """Ends of all roles in one column; ``at`` says of which connection each is."""

    at: Array
    packed: Words  # shape (m, 3): the address' two words, the family
    port: Array
    transport: Array


def name_ends(connections: Rows, identity: Identity) -> FourEnds:
    """Return what the source, the destination, and each after translation, was.

    ``connections`` has dtype CONNECTION. An end that was not translated has no entry in the third and fourth.
    """
    everyone, nat = np.arange(len(connections)), connections["nat"]
    original, translated = (words(connections[of]) for of in ("original", "translated"))
    asked = [
        (original, "src", everyone),
        (original, "dst", everyone),
        (translated, "src", np.flatnonzero(nat & Nat.SNAT)),
        (translated, "dst", np.flatnonzero(nat & Nat.DNAT)),
    ]
    together = _Asked(*map(np.concatenate, zip(*(_asked(*one) for one in asked), strict=True)))
    codes, each = _resolve(together, identity, np.ascontiguousarray(connections["end_ns"]))
    ends = []
    borders = np.cumsum([len(at) for *_, at in asked])[:-1]
    for (*_, at), found in zip(asked, np.split(codes, borders), strict=True):
        of = np.full(len(connections), -1, np.intp)
        of[at] = found
        ends.append(Ends.of(of, each))
    source, destination, source_nat, destination_nat = ends
    return source, destination, source_nat, destination_nat


def _asked(tuples: Words, side: str, at: Array) -> _Asked:
    chosen = tuples[at]
    named = chosen.view(TUPLE)[:, 0]
    first = 0 if side == "src" else 2
    packed = np.empty((len(at), 3), np.uint64)
    packed[:, :2], packed[:, 2] = chosen[:, first : first + 2], named["family"]
    port = named["sport" if side == "src" else "dport"]
    return _Asked(at, packed, port.astype(np.int64), named["proto"].astype(np.int64))


def _resolve(asked: _Asked, identity: Identity, end_ns: Array) -> tuple[Codes, list[End]]:
    """Return codes, and the ends that they stand for.

    An address has one code with any port at any time, and one more with each port that is told apart and was seen,
    and for each time since which it may have been something else.
    """
    first, codes = distinct(asked.packed)
    addresses = [_text(row) for row in asked.packed[first].tolist()]
    times = end_ns[asked.at]
    place = _told_apart(asked, codes, [identity.ports(address) for address in addresses])
    turn = _turns(times, codes, addresses, identity)
    apart = np.flatnonzero((place != 0) | (turn != 0))
    ports = np.zeros(len(first), np.int64)
    if len(apart):
        addresses_of = codes[apart]
        seen_first, which = distinct(np.column_stack([addresses_of, place[apart], turn[apart]]).astype(np.uint64))
        rows = apart[seen_first]
        addresses += [addresses[code] for code in addresses_of[seen_first].tolist()]
        ports = np.r_[ports, np.where(place[rows] != 0, asked.port[rows], 0)]
        codes[apart] = len(first) + which
        first = np.r_[first, rows]
    asks = np.bincount(codes, minlength=len(first)) != 0
    used = np.flatnonzero(asks)
    questions = zip(
        ports[used].tolist(), asked.transport[first[used]].tolist(), times[first[used]].tolist(), strict=True
    )
    each = [
        End(address, identity.endpoint(address, *question))
        for address, question in zip(map(addresses.__getitem__, used.tolist()), questions, strict=True)
    ]
    return (np.cumsum(asks) - 1)[codes], each


def _told_apart(asked: _Asked, codes: Codes, ports: Sequence[Collection[tuple[int, int]]]) -> Array:
    """Return each end's address, port and transport as one number where they are told apart, else 0."""
    told = [_place(code, *port) for code, of_address in enumerate(ports, 1) for port in of_address]
    place = _place(codes + 1, asked.port, asked.transport)
    return place * one_of(place, np.sort(told)) if told else np.zeros_like(place)


def _turns(times: Array, codes: Codes, addresses: Sequence[str], identity: Identity) -> Array:
    """Return for each end of a changing address 1 + how many changes were before it or with it, else 0."""
    turn = np.zeros(len(times), np.int64)
    if not len(times):
        return turn
    span = int(times.min()) - 1, int(times.max())
    changing = [(code, found) for code, one in enumerate(addresses) if (found := identity.borders(one, *span))]
    if changing:
        number = np.full(len(addresses), -1, np.intp)
        number[[code for code, _ in changing]] = np.arange(len(changing))
        which = number[codes]
        rows = np.flatnonzero(which >= 0)
        rows = rows[np.argsort(which[rows], kind="stable")]
        ends = np.cumsum(np.bincount(which[rows], minlength=len(changing)))
        for (_, found), some in zip(changing, np.split(rows, ends[:-1]), strict=True):
            turn[some] = 1 + np.searchsorted(found, times[some], "right")
    return turn


def _place(code: Some, port: Some, transport: Some) -> Some:
    """Return an address' code, a port and a transport as one number."""
    return code << 24 | port << 8 | transport


def _text(row: list[int]) -> str:
    high, low, family = row
    return address_text(high.to_bytes(8, "little") + low.to_bytes(8, "little"), family)
