"""Which connections are sampled: by a hash of ORIGINAL, as the kernel does it (``bpf/rules.h``)."""

import numpy as np
import numpy.typing as npt

from natlens.flows.hashing import FIRST, HALF, LAST, SECOND
from natlens.flows.tuples import ICMP, ICMP6, words

__all__ = ["is_sampled"]

Words = npt.NDArray[np.uint64]


def is_sampled(originals: npt.NDArray[np.void], rate: int) -> npt.NDArray[np.bool_]:
    """Tell which connections are sampled (shape (n,)); ``rate``: one of so many.

    By ORIGINAL (dtype TUPLE), or by its inverse, which gives the same: where there is no NAT, nobody has to know who
    initiated. The hash is fixed: nodes that see the same ORIGINAL choose the same, and so does the agent's next run.
    """
    addresses = words(originals)
    icmp = np.isin(originals["proto"], (ICMP, ICMP6))
    far = np.where(icmp, originals["sport"], originals["dport"])  # both directions have ICMP's identifier
    hashes = _end(addresses[:, :2], originals["sport"]) + _end(addresses[:, 2:4], far)
    hashes = (hashes ^ originals["proto"].astype(np.uint64)) * SECOND
    hashes ^= hashes >> LAST
    sampled: npt.NDArray[np.bool_] = (hashes >> HALF) * np.uint64(rate) >> HALF == 0
    return sampled


def _end(address: Words, port: npt.NDArray[np.uint16]) -> Words:
    state = np.zeros(len(port), np.uint64)
    for word in (address[:, 0], address[:, 1], port.astype(np.uint64)):
        state = (state ^ word) * FIRST
        state = state ^ state >> HALF
    return state
