"""The table of live connections: what one window leaves for the next."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from natlens.flows.columns import gather, stack
from natlens.flows.tuples import TUPLE, inverse, same

__all__ = ["LIVE", "Live", "blank", "from_translations", "is_plain", "nat_kind"]

LIVE = np.dtype(
    [
        ("original", TUPLE),  # initiator -> what it dialled
        ("translated", TUPLE),  # the same after NAT: the inverse of conntrack's REPLY
        ("zone", np.int32),  # conntrack zone; -1: conntrack's word was not heard
        ("nat_source", np.uint8),  # TranslationSource
        ("forward_ifindex", np.uint32),  # ORIGINAL packets came in by it; 0: not known, or sent by the host
        ("reply_ifindex", np.uint32),  # REPLY packets came in by it; 0 likewise
        ("born_ns", np.int64),  # CLOCK_MONOTONIC: the entry was first seen
        ("seen_ns", np.int64),  # CLOCK_MONOTONIC: the entry was last seen at egress
        ("weight_octets", np.uint64),  # forward octets of this window by the entry's own count
        ("weight_packets", np.uint64),
        ("started", np.bool_),  # a row was seen: it is a connection, not only an entry
        ("ended", np.bool_),  # its last record has gone out
        ("syn", np.bool_),  # its SYN was seen …
        ("syn_seq", np.uint32),  # … with this sequence number
        ("ifindex", np.uint32),  # where it was first counted
        ("first_ns", np.int64),  # CLOCK_MONOTONIC of its first packet
        ("last_ns", np.int64),  # CLOCK_MONOTONIC of its last packet
        ("start_ns", np.int64),  # Unix time of its first packet, fixed at the first record
        ("forward_octets", np.uint64),  # not reported yet
        ("forward_packets", np.uint64),
        ("reverse_octets", np.uint64),
        ("reverse_packets", np.uint64),
        ("forward_octets_total", np.uint64),
        ("forward_packets_total", np.uint64),
        ("reverse_octets_total", np.uint64),
        ("reverse_packets_total", np.uint64),
        ("forward_flags", np.uint8),
        ("reverse_flags", np.uint8),
        ("flow_id", np.uint64, (2,)),
        ("sequence", np.uint32),
    ]
)
"""The columns of :class:`Live`."""


class Live:
    """A table whose rows are connections, or conntrack entries whose packets have not been counted yet.

    One array a column of :data:`LIVE`: the join touches a few columns of every row, and rows of 250 bytes would be
    read whole for each (measured: three times as slow).
    """

    __slots__ = ("_columns",)

    def __init__(self, columns: dict[str, npt.NDArray[np.generic]]) -> None:
        self._columns = columns

    @classmethod
    def zeros(cls, rows: int) -> "Live":
        """Return ``rows`` rows of zeros."""
        return cls({name: np.zeros(rows, LIVE[name]) for name in LIVE.names or ()})

    @classmethod
    def concatenate(cls, parts: Sequence["Live"]) -> "Live":
        """Return the rows of all parts, in order."""
        return cls({name: stack([part[name] for part in parts]) for name in LIVE.names or ()})

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._columns["zone"])

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Return a column, to read or to write into."""
        return self._columns[name]

    def take(self, rows: npt.NDArray[Any]) -> "Live":
        """Return the rows at these indices, or where this mask is true, as a table of their own."""
        if rows.dtype == np.bool_:
            rows = np.flatnonzero(rows)
        return Live({name: gather(column, rows) for name, column in self._columns.items()})

    def copy(self) -> "Live":
        """Return a table that shares nothing with this one."""
        return Live({name: column.copy() for name, column in self._columns.items()})


def blank(original: npt.NDArray[np.void], translated: npt.NDArray[np.void]) -> Live:
    """Return new entries of these tuples (dtype TUPLE, shape (n,)) in an unknown zone."""
    entries = Live.zeros(len(original))
    entries["original"][:], entries["translated"][:] = original, translated
    entries["zone"][:] = -1
    return entries


def is_plain(entries: Live) -> npt.NDArray[np.bool_]:
    """Tell which entries are not translated."""
    return same(entries["original"], entries["translated"])


LEARNED = {
    "forward_ifindex": "forward_ifindex",
    "reply_ifindex": "reply_ifindex",
    "born_ns": "first_ns",
    "seen_ns": "last_ns",
    "weight_octets": "forward_octets",
    "weight_packets": "forward_packets",
}
"""Column → field of ``struct translation``."""


def from_translations(translations: npt.NDArray[np.void]) -> Live:
    """Return entries of a window's translations (dtype kernel.windows.TRANSLATIONS)."""
    key, value = translations["key"], translations["value"]
    entries = blank(key["original"], inverse(key["reply"]))
    entries["zone"][:] = key["zone"]
    entries["nat_source"][:] = np.where(is_plain(entries), 0, value["source"])
    for name, field in LEARNED.items():
        entries[name][:] = value[field]
    return entries


def nat_kind(original: npt.NDArray[np.void], translated: npt.NDArray[np.void]) -> npt.NDArray[np.uint8]:
    """Return flows.connection.Nat bits: the destination differs (1), the source differs (2)."""
    icmp = (original["proto"] == 1) | (original["proto"] == 58)
    destination = (original["dst"] != translated["dst"]).any(axis=1) | (
        ~icmp & (original["dport"] != translated["dport"])
    )
    source = (original["src"] != translated["src"]).any(axis=1) | (original["sport"] != translated["sport"])
    kind: npt.NDArray[np.uint8] = destination.astype(np.uint8) | source.astype(np.uint8) << 1
    return kind
