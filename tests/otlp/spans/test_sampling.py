"""Sampling: the specification's thresholds, and every node decides alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natlens.otlp.spans.ids import trace_words
from natlens.otlp.spans.sampling import NOTHING, chosen, threshold, trace_state
from natlens.otlp.spans.segments import Spans
from tests.otlp.batches import batch_of, connection

RATIOS = st.floats(0, 1)
SECOND = 10**9

# The specification's table for a precision of 4.
TABLE = {
    1 / 2: "8",
    1 / 3: "aaab",
    1 / 4: "c",
    1 / 5: "cccd",
    1 / 8: "e",
    1 / 10: "e666",
    1 / 16: "f",
    1 / 100: "fd70a",
    1 / 1000: "ffbe77",
    1 / 10_000: "fff9724",
    1 / 100_000: "ffff583a",
    1 / 1_000_000: "ffffef39",
}


@pytest.mark.parametrize("ratio", TABLE)
def test_thresholds_are_the_specifications(ratio: float) -> None:
    assert trace_state(threshold(ratio)) == f"ot=th:{TABLE[ratio]}"


def test_all_and_nothing() -> None:
    words = np.array([[0, 0], [0, 1], [1, 0], [5, 2**64 - 1]], np.uint64)
    assert (threshold(1), trace_state(threshold(1))) == (0, "")
    assert chosen(trace_words(words), threshold(1)).all()
    assert threshold(0) == NOTHING
    assert not chosen(trace_words(words), threshold(0)).any()


@given(RATIOS)
def test_a_tracestate_tells_the_threshold_and_that_the_ratio(ratio: float) -> None:
    least = threshold(ratio)
    if 0 < least < NOTHING:
        digits = trace_state(least).removeprefix("ot=th:")
        assert 1 <= len(digits) <= 14
        assert int(digits.ljust(14, "0"), 16) == least
    assert (NOTHING - least) / NOTHING == pytest.approx(ratio, rel=2**-13, abs=2**-56)  # 1 - x has steps of 2**-53


@given(RATIOS, RATIOS, st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_a_smaller_ratio_chooses_some_of_what_a_larger_one_does(one: float, other: float, low: list[int]) -> None:
    words = trace_words(np.array([(9, word) for word in low], np.uint64))
    few, many = (chosen(words, threshold(ratio)) for ratio in sorted((one, other)))
    assert not (few & ~many).any()
    again = words | np.array([0, 0xFF << 56], np.uint64)
    assert (chosen(again, threshold(one)) == chosen(words, threshold(one))).all(), "the low 56 bits decide"


def test_two_nodes_choose_the_same_connections_and_as_many_as_they_should() -> None:
    rows = np.repeat(connection(sequence=0), 20_000)
    rows["flow_id"] = np.random.default_rng(1).integers(0, 2**64, (len(rows), 2), np.uint64)
    found = []
    for node in ("node-1", "node-2"):
        told, spans = Spans(0.1, 300 * SECOND).of(batch_of(rows), node)
        assert told.trace is not None
        assert len(spans) == told.trace.sampled.sum()
        assert sorted(map(bytes, spans.trace_id)) == sorted(map(bytes, told.trace.trace_id[told.trace.sampled]))
        found.append((told.trace.sampled, {bytes(one) for one in spans.span_id}))
    (here, spans_here), (there, spans_there) = found
    assert (here == there).all()
    assert not spans_here & spans_there
    assert len(spans_here) == here.sum() == pytest.approx(2000, rel=0.1)
