"""Segments: whatever records come, the spans of a connection are a chain that holds every octet once."""

from collections import defaultdict
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from natlens.flows.connection import CONNECTION, EndReason
from natlens.identity.standing import Reporter
from natlens.otlp.batch import Batch
from natlens.otlp.spans.segments import COUNTERS, Spans
from tests.otlp.batches import batch_of, connection, standing_of

SECOND = 10**9
T0 = 1_764_000_000 * SECOND
NODE = "node-1"


class Sent(NamedTuple):
    """One span, as it would be sent."""

    trace_id: bytes
    span_id: bytes
    previous: bytes
    start_ns: int
    end_ns: int
    row: npt.NDArray[np.void]


class Recording:
    """Spans of a series of batches, and the ids that the records got."""

    def __init__(self, ratio: float = 1, max_age_ns: int = 300 * SECOND, node: str = NODE) -> None:
        self.spans, self.node = Spans(ratio, max_age_ns), node
        self.sent: list[Sent] = []
        self.told: list[tuple[bytes, bytes] | None] = []

    def take(self, batch: Batch) -> None:
        told, ended = self.spans.of(batch, self.node)
        assert told.trace is not None
        assert ended.batch.trace is None
        self.told += [
            (bytes(trace_id), bytes(span_id)) if sampled else None
            for trace_id, span_id, sampled in zip(*told.trace, strict=True)
        ]
        ids = (map(bytes, column) for column in (ended.trace_id, ended.span_id, ended.previous))
        times = ended.start_ns.tolist(), ended.end_ns.tolist()
        self.sent += map(Sent, *ids, *times, ended.batch.connections[:, None])

    def chains(self) -> dict[bytes, list[Sent]]:
        found = defaultdict(list)
        for one in self.sent:
            found[one.trace_id].append(one)
        return found


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[npt.NDArray[np.void]], int]:
    """Return the records of each of some connections, one at most an interval of 10 s, and how many intervals."""
    intervals = draw(st.integers(1, 12))
    found = []
    for at in range(draw(st.integers(1, 5))):
        said = sorted(draw(st.sets(st.integers(0, intervals - 1), min_size=1)))
        rows = np.repeat(connection(), len(said))
        ends = sorted(draw(st.lists(st.integers(0, 10 * SECOND - 1), min_size=len(said), max_size=len(said))))
        rows["end_ns"] = T0 + 10 * SECOND * np.array(said) + np.array(ends)
        rows["start_ns"] = rows["end_ns"][0] - draw(st.integers(0, 20 * SECOND))
        rows["flow_id"] = (0, 2 * at) if draw(st.booleans()) else (at, 2**64 - 1 - at)
        rows["sequence"] = np.arange(len(said))
        rows["end_reason"] = EndReason.ACTIVE_TIMEOUT
        rows["end_reason"][-1] = draw(st.sampled_from([one for one in EndReason if one != EndReason.ACTIVE_TIMEOUT]))
        for counter in COUNTERS:
            rows[counter] = draw(st.lists(st.integers(0, 2**40), min_size=len(said), max_size=len(said)))
            rows[f"{counter}_total"] = np.cumsum(rows[counter])
        rows["zone"] = said  # in which interval: is not read here
        found.append(rows)
    return found, intervals


@given(lives(), st.integers(1, 80))
def test_any_series_of_records_gives_chains_that_hold_everything_once(
    of: tuple[list[npt.NDArray[np.void]], int], max_age: int
) -> None:
    connections, intervals = of
    recording = Recording(max_age_ns=max_age * SECOND)
    records = np.concatenate(connections)
    for interval in range(intervals):
        recording.take(batch_of(records[records["zone"] == interval]))
        live = [rows for rows in connections if rows["zone"][0] <= interval < rows["zone"][-1]]
        assert len(recording.spans) == len(live)
    chains = recording.chains()
    assert len(chains) == len(connections)
    assert len({one.span_id for one in recording.sent}) == len(recording.sent)
    assert {*recording.told} == {(one.trace_id, one.span_id) for one in recording.sent}
    for rows in connections:
        check(chains[flow_id(rows[0])], rows, max_age * SECOND)


def flow_id(row: np.void) -> bytes:
    first, second = (int(word) for word in row["flow_id"])
    return first.to_bytes(8, "big") + (second if first or second else 1).to_bytes(8, "big")


def check(chain: list[Sent], rows: npt.NDArray[np.void], max_age_ns: int) -> None:
    """Assert what must hold for the spans of one connection and its records."""
    times = rows["end_ns"].tolist()
    assert (chain[0].start_ns, chain[-1].end_ns) == (rows["start_ns"][0], times[-1])
    assert [int(one.row["sequence"][0]) for one in chain] == list(range(len(chain)))
    assert [one.previous for one in chain] == [bytes(8), *(one.span_id for one in chain[:-1])]
    assert all(one.end_ns == other.start_ns for one, other in pairwise(chain))
    for one in chain:
        before = [time for time in times if one.start_ns < time < one.end_ns]
        assert all(time - one.start_ns < max_age_ns for time in before), "it ends with the first record at its age"
    assert all(one.end_ns - one.start_ns >= max_age_ns for one in chain[:-1])
    longest = max((later - earlier for earlier, later in pairwise([chain[0].start_ns, *times])), default=0)
    assert all(one.end_ns - one.start_ns <= max_age_ns + longest for one in chain)
    if times[-1] - chain[0].start_ns < max_age_ns:
        assert len(chain) == 1
    for counter in COUNTERS:
        assert sum(int(one.row[counter][0]) for one in chain) == rows[counter].sum()
        assert chain[-1].row[f"{counter}_total"][0] == rows[f"{counter}_total"][-1]


def at(seconds: float, sequence: int, *, last: bool = False, **fields: object) -> npt.NDArray[np.void]:
    """Return a record of the connection, whose last packet was at ``seconds``."""
    reason = EndReason.END_OF_FLOW_DETECTED if last else EndReason.ACTIVE_TIMEOUT
    times = {"start_ns": T0, "end_ns": T0 + int(seconds * SECOND)}
    return connection(sequence=sequence, end_reason=reason, **{**times, **fields})


def test_the_record_that_ends_a_segment_belongs_to_it() -> None:
    recording = Recording(max_age_ns=20 * SECOND)
    for record in (at(9, 0), at(20, 1), at(20, 2), at(31, 3, last=True)):
        recording.take(batch_of(record))
    first, second = recording.sent
    assert [told and told[1] for told in recording.told] == [first.span_id] * 2 + [second.span_id] * 2
    assert (first.end_ns, second.start_ns, second.end_ns) == (T0 + 20 * SECOND, T0 + 20 * SECOND, T0 + 31 * SECOND)
    assert (first.row["forward_octets"][0], second.row["reverse_packets"][0]) == (1000, 16)


def test_a_straggler_after_the_last_record_is_a_span_of_its_own() -> None:
    recording = Recording(max_age_ns=SECOND)
    for record in (at(5, 0), at(9, 1, last=True), at(12, 2, last=True), at(13, 3)):
        recording.take(batch_of(record))
        assert len(recording.spans) <= 1
    *chain, late, later = recording.sent
    assert [int(one.row["sequence"][0]) for one in chain] == [0, 1]
    assert (late.start_ns, late.end_ns, late.previous) == (T0 + 12 * SECOND, T0 + 12 * SECOND, bytes(8))
    assert late.row["forward_octets"] == later.row["forward_octets"] == 500
    assert len({one.span_id for one in recording.sent}) == 4
    assert len({one.trace_id for one in recording.sent}) == 1
    assert len(recording.spans) == 0, "it is not waited for what may never come"


def test_two_records_of_one_id_in_a_batch_are_two_spans() -> None:
    recording = Recording()
    recording.take(batch_of(at(5, 0), at(6, 0)))
    recording.take(batch_of(at(7, 1, last=True), at(7, 1, last=True)))
    assert len(recording.spans) == 0
    assert len({one.span_id for one in recording.sent}) == 3
    assert {*recording.told} == {(one.trace_id, one.span_id) for one in recording.sent}
    assert sum(int(one.row["forward_octets"][0]) for one in recording.sent) == 2000


def test_only_the_record_that_counts_has_a_span() -> None:
    reporters = [Reporter.SOURCE, Reporter.DESTINATION, 0]
    rows = [at(5, 0, last=True, flow_id=(number, 7)) for number in (1, 2, 3)]
    recording = Recording()
    recording.take(batch_of(*rows, standing=standing_of(reporters, [True, False, False])))
    assert [told is not None for told in recording.told] == [True, False, True]
    assert {one.trace_id[7] for one in recording.sent} == {1, 3}


def test_what_was_decided_at_the_first_record_stays() -> None:
    recording = Recording()
    recording.take(batch_of(at(5, 0, flow_id=(1, 1)), standing=None))
    recording.take(batch_of(at(9, 1, flow_id=(1, 1), last=True), standing=standing_of([Reporter.TRANSIT], [False])))
    (span,) = recording.sent
    assert recording.told == [(span.trace_id, span.span_id)] * 2


def test_an_open_segment_keeps_its_id_when_the_node_gets_another_name() -> None:
    recording = Recording(max_age_ns=20 * SECOND)
    recording.take(batch_of(at(9, 0)))
    recording.node = "its-uid-is-known-now"
    recording.take(batch_of(at(20, 1)))
    recording.take(batch_of(at(29, 2, last=True)))
    first, second = recording.sent
    assert second.previous == first.span_id
    assert [told and told[1] for told in recording.told] == [first.span_id] * 2 + [second.span_id]


def test_a_span_never_ends_before_it_starts() -> None:
    recording = Recording(max_age_ns=20 * SECOND)
    for record in (at(25, 0), at(24, 1, last=True), at(-1, 0, last=True, flow_id=(1, 1))):
        recording.take(batch_of(record))
    first, second, other = recording.sent
    assert (second.start_ns, second.end_ns) == (first.end_ns, first.end_ns)
    assert (other.start_ns, other.end_ns) == (T0, T0)


def test_no_connections_are_no_spans() -> None:
    recording = Recording()
    recording.take(batch_of(np.zeros(0, CONNECTION)))
    assert (recording.sent, recording.told) == ([], [])


def test_the_records_themselves_are_not_changed() -> None:
    recording, batch = Recording(max_age_ns=SECOND), batch_of(at(5, 0))
    before = batch.connections.copy()
    told, _ = recording.spans.of(batch, NODE)
    assert (told.connections == before).all()
    assert batch.trace is None
