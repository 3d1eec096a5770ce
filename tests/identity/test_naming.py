"""Naming the ends of connections: the same answers as one question an end, with far fewer questions."""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.otlp.batches import batches

from natlens.flows.connection import CONNECTION, Nat
from natlens.flows.hashing import distinct
from natlens.flows.tuples import address_text
from natlens.identity.endpoint import Endpoint
from natlens.identity.ends import Ends
from natlens.identity.naming import Anonymous, name_ends
from natlens.otlp.batch import Batch

SIDES = (
    ("original", "src", "sport", 0),
    ("original", "dst", "dport", 0),
    ("translated", "src", "sport", Nat.SNAT),
    ("translated", "dst", "dport", Nat.DNAT),
)


class Told:
    """Names every address; ports below ``below`` of addresses that end in an even digit are told apart.

    An address that ends in 1, 2 or 3 is another one from each of the times ``changes`` on.
    """

    wait_ns = 0

    def __init__(self, below: int = 0, changes: Sequence[int] = ()) -> None:
        self.below, self.changes = below, sorted(changes)
        self.asked: list[tuple[str, int, int, int]] = []

    def endpoint(self, address: str, port: int, transport: int, at_ns: int) -> Endpoint:
        past = sum(change <= at_ns for change in self.changes) if address[-1] in "123" else 0
        self.asked.append((address, port, transport, past))
        apart = (port, transport) in self.ports(address)
        return Endpoint(k8s_pod_name=f"{address} {port}/{transport}" if apart else address, k8s_node_name=str(past))

    def ports(self, address: str) -> Collection[tuple[int, int]]:
        even = address[-1] in "02468ace"
        return {(port, transport) for port in range(1, self.below) for transport in (6, 17)} if even else ()

    def borders(self, address: str, begin_ns: int, end_ns: int) -> Sequence[int]:
        return [one for one in self.changes if begin_ns < one <= end_ns] if address[-1] in "123" else ()


def alike(ends: Ends, connections: npt.NDArray[np.void], side: tuple[str, str, str, int], told: Told) -> None:
    of, address, port, bit = side
    for at, row in enumerate(connections):
        if bit and not row["nat"] & bit:
            assert ends.codes[at] == -1
            continue
        text = address_text(bytes(row[of][address]), int(row[of]["family"]))
        wanted = told.endpoint(text, int(row[of][port]), int(row[of]["proto"]), int(row["end_ns"]))
        assert ends.each[ends.codes[at]] == (text, wanted)


SMALL = st.lists(st.integers(0, 3), min_size=12, max_size=12)


@given(batches(max_size=12), SMALL, st.sampled_from([0, 4, 9]), SMALL, st.lists(st.integers(-1, 5), max_size=3))
def test_every_end_is_what_it_would_be_asked_alone(
    batch: Batch, small: list[int], below: int, times: list[int], changes: list[int]
) -> None:
    connections = batch.connections
    connections["end_ns"] = np.resize(times, len(connections))
    for of in ("original", "translated"):  # few addresses and ports, so that some are the same
        connections[of]["family"] = 6
        for field, bits in (("src", 1), ("dst", 3), ("sport", 7), ("dport", 15)):
            values = np.resize(small, len(connections)) & bits
            if field in ("src", "dst"):
                connections[of][field] = 0
                connections[of][field][:, 15] = values
            else:
                connections[of][field] = values
    told = Told(below, changes)
    for ends, side in zip(name_ends(connections, told), SIDES, strict=True):
        assert ends.each[-1] is None
        alike(ends, connections, side, Told(below, changes))
    assert len(told.asked) == len(set(told.asked))


def test_an_address_is_asked_for_once_whatever_its_ports() -> None:
    connections = np.zeros(1000, CONNECTION)
    connections["original"]["family"] = connections["translated"]["family"] = 4
    connections["original"]["sport"] = np.arange(1000)
    told = Told(below=3)
    source, *_ = name_ends(connections, told)
    assert [port for _, port, *_ in told.asked] == [0]
    assert set(source.codes.tolist()) == {0}


def test_nobody_is_known_to_nobody() -> None:
    source, _, source_nat, _ = name_ends(np.zeros(2, CONNECTION), Anonymous())
    assert source.each[source.codes[0]] == ("::", Endpoint())
    assert source_nat.codes.tolist() == [-1, -1]


def test_no_connections_have_no_ends() -> None:
    assert [len(ends.codes) for ends in name_ends(np.zeros(0, CONNECTION), Anonymous())] == [0, 0, 0, 0]


def test_rows_of_one_hash_are_still_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.array([[1, 2], [3, 4], [1, 2], [5, 6]], np.uint64)
    monkeypatch.setattr("natlens.flows.hashing._hash", lambda rows: np.zeros(len(rows), np.uint64))
    first, which = distinct(words)
    assert words[first][which].tolist() == words.tolist()
    assert len(first) == 3
