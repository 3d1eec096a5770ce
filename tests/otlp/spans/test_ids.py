"""Names of traces and spans: the documented functions, fixed for ever."""

from hashlib import sha256

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from natlens.otlp.spans import ids

WORDS = st.integers(0, 2**64 - 1)


def mix(state: int, word: int) -> int:
    """Return what the documentation says, in Python's integers."""
    state = (state ^ word) * 0xBF58476D1CE4E5B9 % 2**64
    state ^= state >> 32
    state = state * 0x94D049BB133111EB % 2**64
    return state ^ state >> 29


@given(st.lists(st.tuples(WORDS, WORDS), max_size=5), st.text(st.characters()), WORDS)
def test_ids_are_what_their_documentation_says(flows: list[tuple[int, int]], node: str, segment: int) -> None:
    trace = ids.trace_words(np.array(flows, np.uint64).reshape(-1, 2))
    found = ids.span_ids(ids.keys(trace), ids.node_word(node), np.full(len(flows), segment, np.uint64))
    word = int.from_bytes(sha256(node.encode("utf-8", "surrogatepass")).digest()[:8], "big")
    for at, (first, second) in enumerate(flows):
        traced = (first, second) if first or second else (0, 1)
        assert bytes(ids.octets(trace)[at]).hex() == f"{traced[0]:016x}{traced[1]:016x}"
        span_id = mix(mix(mix(mix(0, traced[0]), traced[1]), word), segment) or 1
        assert bytes(ids.octets(found)[at]).hex() == f"{span_id:016x}"


def test_ids_do_not_change_between_releases() -> None:
    trace = ids.trace_words(np.array([[0x0123456789ABCDEF, 0xFEDCBA9876543210]], np.uint64))
    spans = [ids.span_ids(ids.keys(trace), ids.node_word("node-1"), np.array([n], np.uint64)) for n in (0, 1)]
    assert [bytes(ids.octets(span)[0]).hex() for span in spans] == ["1dffbf36be4b6bca", "01dd0efe329d98cd"]


def test_an_id_of_zeros_is_never_made() -> None:
    assert ids.trace_words(np.zeros((2, 2), np.uint64)).tolist() == [[0, 1], [0, 1]]
    # The word that makes a state of a key and a node 0 is that state itself: an xor comes first.
    key, node = np.array([7], np.uint64), ids.node_word("node-1")
    state = mix(7, int(node))
    assert ids.span_ids(key, node, np.array([state], np.uint64)).tolist() == [1]
