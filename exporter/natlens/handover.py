"""What an agent with `pin` knows of its connections, as octets for the next one (ADR 15).

Names for life, start times, totals and what was counted and not said yet: with it the next agent's records go on as if
nothing had happened. It is of one layout: another version of natlens that has other columns does not read it.
"""

import hashlib
import json
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from natlens.flows.connection import CONNECTION
from natlens.flows.join import Carry
from natlens.flows.live import LIVE, Live
from natlens.identity.waiting import Interval
from natlens.kernel.windows import ROWS

__all__ = ["State", "pack", "unpack"]

HEAD = struct.Struct("=12sQ")  # layout, octets of the JSON that follows
LAYOUT = hashlib.sha256(repr([LIVE.descr, ROWS.descr, CONNECTION.descr]).encode()).hexdigest()[:12].encode()


class State(NamedTuple):
    """The connections that live, and the records that wait for their names."""

    carry: Carry
    waiting: Sequence[Interval]


def pack(state: State) -> list[bytes | memoryview]:
    """Return the state in parts, to be put one after another; arrays as they are, not copied."""
    live, held = state.carry.live, state.carry.held
    columns = [live[name] for name in LIVE.names or ()]
    intervals = [interval.connections for interval in state.waiting]
    told = {
        "live": len(live),
        "held": len(held),
        "waiting": [(len(interval.connections), interval.end_ns) for interval in state.waiting],
    }
    head = json.dumps(told).encode()
    arrays = (np.ascontiguousarray(one).reshape(-1).view(np.uint8).data for one in (*columns, held, *intervals))
    return [HEAD.pack(LAYOUT, len(head)), head, *arrays]


def unpack(octets: bytes) -> State | None:
    """Return the state; None where another version packed it."""
    if len(octets) < HEAD.size:
        return None
    layout, length = HEAD.unpack_from(octets)
    if layout != LAYOUT:
        return None
    told = json.loads(octets[HEAD.size : HEAD.size + length])
    at = HEAD.size + length

    def array(dtype: np.dtype[np.void], count: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.void]]":
        nonlocal at
        begin, at = at, at + count * dtype.itemsize
        base, shape = dtype.subdtype or (dtype, ())
        return np.frombuffer(octets[begin:at], base).reshape(count, *shape).copy()

    live = Live({name: array(LIVE[name], told["live"]) for name in LIVE.names or ()})
    carry = Carry(live, array(ROWS, told["held"]))
    return State(carry, [Interval(array(CONNECTION, count), end_ns) for count, end_ns in told["waiting"]])
