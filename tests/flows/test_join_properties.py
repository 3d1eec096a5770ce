"""What the join holds over any history: nothing is lost, nothing counted twice, and each connection is told once."""

from collections import Counter, defaultdict

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from natlens.flows.join import Carry, join
from natlens.flows.report import Limits
from natlens.flows.tuples import address_text
from natlens.kernel.windows import ROWS, TRANSLATIONS, Window
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


@st.composite
def _anything(draw: st.DrawFn) -> list[Window]:
    """Return windows whose rows and translations have nothing to do with each other but a few tuples and times."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    windows = []
    for number in range(draw(st.integers(1, 4))):
        rows, news = (np.zeros(draw(st.integers(0, 12)), dtype) for dtype in (ROWS, TRANSLATIONS))
        for tuples in (rows["key"]["tuple"], news["key"]["original"], news["key"]["reply"]):
            _scramble(tuples, rng)
        rows["key"]["ifindex"], rows["key"]["side"] = rng.integers(1, 4, len(rows)), rng.integers(0, 2, len(rows))
        value = rows["value"]
        value["packets"] = rng.integers(1, 5, len(rows))
        value["octets"] = value["packets"] * rng.integers(20, 1500, len(rows))
        for name, end in (("syn", 8), ("syn_seq", 4), ("tcp_flags", 256), ("conntrack", 4), ("zone", 2)):
            value[name] = rng.integers(0, end, len(rows))
        for part, one in ((value, rows), (news["value"], news)):
            part["first_ns"] = number * SECOND + rng.integers(0, SECOND, len(one))
            part["last_ns"] = np.minimum(part["first_ns"] + rng.integers(0, SECOND, len(one)), (number + 1) * SECOND)
        news["key"]["zone"], news["value"]["source"] = rng.integers(0, 2, len(news)), rng.integers(1, 5, len(news))
        news["value"]["forward_octets"] = rng.integers(0, 3000, len(news))
        news["value"]["forward_ifindex"] = rng.integers(0, 4, len(news))
        windows.append(Window(rows, news, number * SECOND, (number + 1) * SECOND, 10**18))
    return windows


def _scramble(tuples: npt.NDArray[np.void], rng: np.random.Generator) -> None:
    """Fill tuples from so small a pool that they often meet, as equals, inverses, or both."""
    size = len(tuples)
    for end in ("src", "dst"):
        tuples[end] = 0
        tuples[end][:, 15] = rng.integers(1, 4, size)
    tuples["proto"], tuples["family"] = rng.choice([1, 6, 17, 58], size), rng.choice([4, 6], size)
    for port in ("sport", "dport"):
        tuples[port] = rng.choice([1, 2, 8 << 8, 0, 3 << 8, 128 << 8], size)


@settings(max_examples=600, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(_anything(), st.integers(0, 3 * SECOND), st.integers(1, 8))
def test_whatever_a_window_holds_is_told_once(windows: list[Window], idle_ns: int, room: int) -> None:
    limits = Limits(idle_ns=idle_ns, tcp_idle_ns=2 * idle_ns, settle_ns=idle_ns // 4, max_connections=room)
    carry, told = Carry(), Counter[str]()
    for window in windows:
        joined = join(window, carry, limits, flush=window is windows[-1])
        carry = joined.carry
        records = joined.connections
        for unit in ("octets", "packets"):
            told[unit] += sum(int(records[f"{way}_{unit}"].sum()) for way in ("forward", "reverse"))
            for way in ("forward", "reverse"):
                assert (records[f"{way}_{unit}_total"] >= records[f"{way}_{unit}"]).all()
        assert (records["forward_packets_total"] + records["reverse_packets_total"] > 0).all()
        assert (records["end_ns"] >= records["start_ns"]).all()
    for unit in ("octets", "packets"):
        assert told[unit] == sum(int(window.rows["value"][unit].sum()) for window in windows)
