"""What holds over *any* history: clashing tuples, lost translations, reused ports, window borders anywhere."""

from collections import Counter, defaultdict
from dataclasses import fields
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, assume, given, settings

from natlens.flows.connection import EndReason
from natlens.flows.join import Carry, join
from natlens.flows.report import Limits
from natlens.flows.tuples import TCP
from natlens.kernel.windows import Window
from tests.flows.histories import History, histories
from tests.flows.packets import SYN, Place

SECOND = 1_000_000_000
LIMITS = Limits(idle_ns=30 * SECOND, tcp_idle_ns=600 * SECOND, settle_ns=SECOND // 4, max_connections=1000)
UNITS = "octets", "packets"

Records = npt.NDArray[np.void]


def _sum(array: Records, *names: str) -> int:
    return sum(int(array[name].sum()) for name in names)


def _arrays(window: Window) -> list[bytes]:
    return [getattr(window, one.name).tobytes() for one in fields(window) if one.name in ("rows", "translations")]


def _told(history: History) -> Records:
    """Join the history and flush it; checks each step on the way."""
    carry, parts = Carry(), []
    for window in history.windows:
        flush = window is history.windows[-1]
        before, table = _arrays(window), carry.live["last_ns"].copy()
        joined = join(window, carry, LIMITS, flush=flush)
        again = join(window, carry, LIMITS, flush=flush)
        assert _arrays(window) == before
        assert (carry.live["last_ns"] == table).all()
        assert joined.connections.tobytes() == again.connections.tobytes()  # pure: the same, and nothing changed
        assert joined.ambiguous_octets <= _sum(window.rows["value"], "octets") + _sum(carry.held["value"], "octets")
        carry = joined.carry
        parts.append(joined.connections)
    assert not len(carry.held)
    return np.concatenate(parts)


def _possible(history: History) -> bool:
    """Tell whether no TCP port has two connections to one address at once: only UDP sockets race so (NAT_CLASH)."""
    spans: dict[object, list[int]] = defaultdict(list)
    for packet in history.packets:
        if packet.connection.original.proto == TCP:
            spans[packet.connection].append(packet.at)
    lives = sorted((one.original, min(times), max(times)) for one, times in spans.items())  # type: ignore[attr-defined]
    return all(a[0] != b[0] or a[2] < b[1] for a, b in pairwise(lives))


def _twice(history: History) -> bool:
    """Tell whether the host repeats the SYN of a translated connection.

    Known limit: if the first one's translation is lost (the map was full), that one is told as a connection without
    NAT, under the tuple it has on the wire. With the second SYN the true one is told, and its id, made of that same
    tuple and SYN, is the same.
    """
    syns = Counter(
        packet.connection
        for packet in history.packets
        if packet.flags == SYN
        and packet.connection.nat
        and packet.connection.place in (Place.FROM_HOST, Place.LOOPBACK)
    )
    return any(number > 1 for number in syns.values())


def _flows(records: Records) -> list[list[np.void]]:
    flows: dict[bytes, list[np.void]] = defaultdict(list)
    for record in records:
        flows[record["flow_id"].tobytes()].append(record)
    return list(flows.values())


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(histories(ambiguous=True))
def test_octets_in_are_octets_out_and_every_record_has_its_row(history: History) -> None:
    records = _told(history)
    rows = np.concatenate([window.rows for window in history.windows])
    for unit in UNITS:
        assert _sum(records, f"forward_{unit}", f"reverse_{unit}") == _sum(rows["value"], unit)
    for flow in _flows(records):
        assert flow[-1]["forward_packets_total"] + flow[-1]["reverse_packets_total"] > 0


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(histories(ambiguous=True))
def test_records_of_a_flow_are_a_gapless_sequence_with_one_start_and_running_totals(history: History) -> None:
    assume(_possible(history) and not _twice(history))
    for flow in _flows(_told(history)):
        assert [int(record["sequence"]) for record in flow] == list(range(len(flow)))
        assert len({int(record["start_ns"]) for record in flow}) == 1
        assert flow[-1]["end_reason"] != EndReason.ACTIVE_TIMEOUT
        for way in ("forward", "reverse"):
            for unit in UNITS:
                deltas = np.cumsum([int(record[f"{way}_{unit}"]) for record in flow]).tolist()
                assert [int(record[f"{way}_{unit}_total"]) for record in flow] == deltas
