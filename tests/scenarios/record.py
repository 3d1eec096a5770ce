"""One record, readable; and the connection that it must be."""

from dataclasses import dataclass, replace

import numpy as np

from natlens.flows.connection import EndReason, Nat, State
from natlens.flows.tuples import address_text
from natlens.ui.lab.packets import ICMP6, Directed
from natlens.ui.lab.wire import Count

__all__ = ["ANY", "ENDED", "GOES_ON", "Flow", "Record", "chatter", "read_record"]

ANY = -1  # a port that the kernel chose
IGMP = 2
MULTICAST_LISTENER = {130, 131, 132, 143}
NEIGHBOUR = set(range(133, 138))
ENDED, GOES_ON = EndReason.END_OF_FLOW_DETECTED, EndReason.ACTIVE_TIMEOUT


@dataclass(frozen=True)
class Record:
    """One record, readable."""

    original: Directed
    translated: Directed
    nat: Nat
    zone: int
    forward: Count
    reverse: Count
    forward_total: Count
    reverse_total: Count
    state: State
    end_reason: EndReason
    sequence: int
    start_ns: int
    end_ns: int
    flow_id: bytes
    device: str


@dataclass(frozen=True)
class Flow:
    """A connection as it must be recorded; ``dialled`` and ``answered`` are the taps before and after NAT.

    ``also`` is for packets that a tap sees by another name yet: (tap, forward tuple there).
    """

    original: Directed
    translated: Directed | None = None
    nat: Nat = Nat.NONE
    dialled: str = ""
    answered: str = ""
    zone: int = 0
    state: State = State.CLOSED
    end: EndReason = ENDED
    tracked: bool = True  # conntrack has an entry whose accounting must be the record's too
    also: tuple[tuple[str, Directed], ...] = ()

    def goes_on(self) -> "Flow":
        """The same, answered and not over in its first record."""
        return replace(self, state=State.NEW, end=GOES_ON)

    def silent(self) -> "Flow":
        """The same, never answered."""
        return replace(self, state=State.UNANSWERED, end=GOES_ON)

    def untracked(self, zone: int = -1) -> "Flow":
        """The same without a conntrack entry to compare with."""
        return replace(self, zone=zone, tracked=False)

    def matches(self, record: Record) -> bool:
        wanted = self.translated or self.original
        known = record.translated._replace(sport=ANY) if wanted.sport == ANY else record.translated
        return (record.original, known, record.zone) == (self.original, wanted, self.zone)


def _directed(one: np.void) -> Directed:
    family = int(one["family"])
    src, dst = (address_text(bytes(one[end]), family) for end in ("src", "dst"))
    return Directed(src, int(one["sport"]), dst, int(one["dport"]), int(one["proto"]))


def _count(row: np.void, name: str, suffix: str = "") -> Count:
    return Count(int(row[f"{name}_octets{suffix}"]), int(row[f"{name}_packets{suffix}"]))


def read_record(row: np.void, devices: dict[int, str]) -> Record:
    return Record(
        original=_directed(row["original"]),
        translated=_directed(row["translated"]),
        nat=Nat(int(row["nat"])),
        zone=int(row["zone"]),
        forward=_count(row, "forward"),
        reverse=_count(row, "reverse"),
        forward_total=_count(row, "forward", "_total"),
        reverse_total=_count(row, "reverse", "_total"),
        state=State(int(row["state"])),
        end_reason=EndReason(int(row["end_reason"])),
        sequence=int(row["sequence"]),
        start_ns=int(row["start_ns"]),
        end_ns=int(row["end_ns"]),
        flow_id=row["flow_id"].tobytes(),
        device=devices[int(row["ifindex"])],
    )


def chatter(one: Directed) -> bool:
    """Tell IPv6 neighbour discovery and both families' multicast reports: they come when they want."""
    return one.proto == IGMP or (one.proto == ICMP6 and one.dport >> 8 in NEIGHBOUR | MULTICAST_LISTENER)
