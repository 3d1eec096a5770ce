"""What the join holds over any history: nothing is lost, nothing counted twice, and each connection is told once."""

from collections import Counter, defaultdict

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, given, settings

from natlens.flows.join import Carry, join
from natlens.flows.report import Limits
from natlens.flows.tuples import address_text
from tests.flows.histories import Expected, History, histories
from tests.flows.packets import Tuple

SECOND = 1_000_000_000
LIMITS = Limits(idle_ns=30 * SECOND, tcp_idle_ns=600 * SECOND, settle_ns=SECOND // 4, max_connections=1000)


def _readable(one: np.void) -> Tuple:
    family = one["family"]
    src, dst = (address_text(one[end].tobytes(), family) for end in ("src", "dst"))
    return Tuple(src, int(one["sport"]), dst, int(one["dport"]), int(one["proto"]))


def _sum(records: list[np.void], name: str) -> int:
    return sum(int(record[name]) for record in records)


def _told(records: npt.NDArray[np.void]) -> list[Expected]:
    """Return what the records of each flow come to."""
    flows: dict[bytes, list[np.void]] = defaultdict(list)
    for record in records:
        flows[record["flow_id"].tobytes()].append(record)
    told = []
    for parts in flows.values():
        last = parts[-1]
        octets, packets = (
            (_sum(parts, f"forward_{unit}"), _sum(parts, f"reverse_{unit}")) for unit in ("octets", "packets")
        )
        told.append(
            Expected(_readable(last["original"]), _readable(last["translated"]), int(last["nat"]), octets, packets)
        )
    return told


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_connections_that_can_be_told_apart_are_told_exactly(history: History) -> None:
    carry, parts, ambiguous = Carry(), [], 0
    for window in history.windows:
        joined = join(history.explained(window, carry), carry, LIMITS, flush=window is history.windows[-1])
        carry, ambiguous = joined.carry, ambiguous + joined.ambiguous_octets
        parts.append(joined.connections)
    assert Counter(_told(np.concatenate(parts))) == Counter(history.expected)
    assert ambiguous == 0
