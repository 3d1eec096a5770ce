"""Sampling by ORIGINAL: a fair coin for each connection, the same for both directions, and sums within their bound."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natlens.flows.sampling import is_sampled
from natlens.flows.tuples import ICMP, TCP, TUPLE, UDP, inverse

N = 200_000


def clients(count: int, proto: int = TCP) -> npt.NDArray[np.void]:
    """Return calls as they are on a node: few clients and Services, ports one after another."""
    at = np.arange(count)
    calls = np.zeros(count, TUPLE)
    calls["src"][:, 10:12], calls["dst"][:, 10:12] = 0xFF, 0xFF
    calls["src"][:, 12:] = np.stack([10 + 0 * at, 244 + 0 * at, at // 7919 % 4, 2 + at % 30], axis=1)
    calls["dst"][:, 12:] = np.stack([10 + 0 * at, 96 + 0 * at, 0 * at, 10 + at % 11], axis=1)
    calls["sport"], calls["dport"], calls["proto"], calls["family"] = 32768 + at % 28232, 80, proto, 4
    return calls


@pytest.mark.parametrize("rate", [2, 3, 10, 100, 1000])
@pytest.mark.parametrize("proto", [TCP, UDP])
def test_sums_are_within_the_statistical_bound(rate: int, proto: int) -> None:
    calls = clients(N, proto)
    different = np.unique(calls)
    octets = np.random.default_rng(rate).pareto(2.5, len(different)) * 1000 + 40
    sampled = is_sampled(different, rate)
    for values in (np.ones(len(different)), octets):
        # variance of the Horvitz-Thompson sum of independent coins: (N - 1) Σ x²; five of its standard deviations
        bound = 5 * np.sqrt((rate - 1) * np.square(values).sum())
        assert abs(values[sampled].sum() * rate - values.sum()) < bound


def test_one_of_one_is_all_and_rates_are_nested_chances() -> None:
    calls = clients(10_000)
    assert is_sampled(calls, 1).all()
    assert not is_sampled(calls, 100)[~is_sampled(calls, 10)].any()


WORD = st.integers(0, 255)


@given(st.lists(st.tuples(WORD, WORD, st.integers(0, 65535), st.integers(0, 65535)), min_size=1, max_size=30))
def test_both_directions_have_one_answer(ends: list[tuple[int, int, int, int]]) -> None:
    calls = np.zeros(len(ends), TUPLE)
    calls["src"][:, 15], calls["dst"][:, 15], calls["sport"], calls["dport"] = np.array(ends).T
    for proto in (TCP, UDP, ICMP):
        calls["proto"] = proto
        if proto == ICMP:
            calls["dport"] = 8 << 8
        for rate in (2, 7):
            assert (is_sampled(calls, rate) == is_sampled(inverse(calls), rate)).all()
