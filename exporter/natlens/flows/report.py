"""What of the live table is said now: records, and what stays for the next window."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from natlens.flows.columns import gather
from natlens.flows.connection import CONNECTION, EndReason, State
from natlens.flows.live import Live, nat_kind
from natlens.flows.tuples import TCP

__all__ = ["Limits", "report"]

Mask = npt.NDArray[np.bool_]

FIN, RST = 0x01, 0x04

# How long an ended connection is remembered, so that a late segment (a retransmitted FIN, a last ACK) is its own
# and not a new connection. Shorter than TIME_WAIT (60 s): memory; a later straggler makes a record of its own.
LINGER_NS = 10_000_000_000

COUNTERS = [f"{way}_{what}" for way in ("forward", "reverse") for what in ("octets", "packets")]
IDENTITY = ["original", "translated", "nat_source", "zone", "ifindex", "start_ns", "flow_id", "sequence"]
SAME = [*IDENTITY, *COUNTERS, *(f"{name}_total" for name in COUNTERS), "forward_flags", "reverse_flags"]


@dataclass(frozen=True)
class Limits:
    """When a connection ends by silence, how long a young one waits, and how many are kept."""

    idle_ns: int
    tcp_idle_ns: int
    settle_ns: int
    max_connections: int


def _states(entries: Live) -> tuple[Mask, Mask]:
    """Return which connections said FIN in both directions, and which were reset."""
    closed = (entries["forward_flags"] & entries["reverse_flags"] & FIN) != 0
    reset = ((entries["forward_flags"] | entries["reverse_flags"]) & RST) != 0
    return closed, reset


def _timeout_ns(entries: Live, limits: Limits) -> npt.NDArray[np.int64]:
    answered_tcp = (entries["original"]["proto"] == TCP) & (
        (entries["reverse_packets_total"] > 0) | ~entries["started"]
    )
    result: npt.NDArray[np.int64] = np.where(answered_tcp, limits.tcp_idle_ns, limits.idle_ns)
    return result


def _evicted(going_on: Mask, entries: Live, limits: Limits) -> Mask:
    """Choose what must go when the table is full: the ones silent for longest."""
    evicted = np.zeros(len(entries), np.bool_)
    excess = int(going_on.sum()) - limits.max_connections
    if excess > 0:
        candidates = np.flatnonzero(going_on)
        evicted[candidates[np.argsort(entries["last_ns"][candidates], kind="stable")[:excess]]] = True
    return evicted


def _stale(entries: Live, end_ns: int, limits: Limits) -> Mask:
    """Tell what has been silent for too long: as a connection and as an entry."""
    heard = np.maximum(np.maximum(entries["last_ns"], entries["seen_ns"]), entries["born_ns"])
    result: Mask = end_ns - heard > _timeout_ns(entries, limits)
    return result


def _reasons(entries: Live, replaced: Mask, end_ns: int, limits: Limits, *, flush: bool) -> npt.NDArray[np.int64]:
    """Return why each entry is reported now (EndReason); 0: it is not."""
    closed, reset = _states(entries)
    alive = entries["started"] & ~entries["ended"]
    over = closed | reset | replaced
    quiet = replaced | (entries["last_ns"] <= end_ns - limits.settle_ns) | flush
    idle = alive & ~over & _stale(entries, end_ns, limits)
    forced = alive & ~over & ~idle & flush
    going_on = alive & ~over & ~idle & ~forced
    fresh = (entries["forward_packets"] > 0) | (entries["reverse_packets"] > 0)
    ends = (alive & over & quiet) | (entries["ended"] & fresh)
    table = {
        EndReason.END_OF_FLOW_DETECTED: ends,
        EndReason.IDLE_TIMEOUT: idle,
        EndReason.FORCED_END: forced,
        EndReason.LACK_OF_RESOURCES: _evicted(going_on, entries, limits),
        EndReason.ACTIVE_TIMEOUT: going_on & fresh,
    }
    return np.select(list(table.values()), [int(reason) for reason in table], 0)


def report(
    entries: Live, superseded: npt.NDArray[np.intp], end_ns: int, limits: Limits, *, flush: bool
) -> tuple[npt.NDArray[np.void], Live]:
    """Return the records (dtype CONNECTION) that are due at ``end_ns`` (CLOCK_MONOTONIC), and the table that stays.

    A connection that ended less than ``settle_ns`` before the window did waits for the next: its last segments may
    still come. ``flush`` ends everything.
    """
    replaced = np.zeros(len(entries), np.bool_)
    replaced[superseded] = True
    reason = _reasons(entries, replaced, end_ns, limits, flush=flush)
    due = np.flatnonzero(reason)
    records = _records(entries, due, reason[due])
    _said(entries, due)
    entries["ended"][reason == EndReason.END_OF_FLOW_DETECTED] = True
    gone = np.isin(reason, (EndReason.IDLE_TIMEOUT, EndReason.FORCED_END, EndReason.LACK_OF_RESOURCES))
    lingering = entries["ended"] & (end_ns - entries["last_ns"] <= LINGER_NS) & ~replaced
    waiting = ~entries["started"] & ~_stale(entries, end_ns, limits)
    return records, entries.take((entries["started"] & ~entries["ended"] & ~gone) | lingering | waiting)


def _said(entries: Live, due: npt.NDArray[np.intp]) -> None:
    for counter in COUNTERS:
        entries[counter][due] = 0
    entries["sequence"][due] += 1


def _records(entries: Live, due: npt.NDArray[np.intp], reason: npt.NDArray[np.int64]) -> npt.NDArray[np.void]:
    records = np.zeros(len(due), CONNECTION)
    for name in SAME:
        records[name] = gather(entries[name], due)
    records["end_ns"] = (entries["start_ns"] + (entries["last_ns"] - entries["first_ns"]))[due]
    records["nat"] = nat_kind(records["original"], records["translated"])
    records["end_reason"] = reason
    closed, reset = (mask[due] for mask in _states(entries))
    unanswered = records["reverse_packets_total"] == 0
    new = (records["sequence"] == 0) & (reason == EndReason.ACTIVE_TIMEOUT)
    records["state"] = np.select(
        [reset, closed, unanswered, new],
        [State.RESET, State.CLOSED, State.UNANSWERED, State.NEW],
        State.OPEN,
    )
    return records
