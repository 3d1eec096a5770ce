"""Strips: varints of any number, columns side by side, records that lack some."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from natlens.otlp.strip import Octets, padded, strips, varint

WORDS = (
    st.integers(0, 2**64 - 1)
    | st.integers(0, 63).map(lambda bit: 1 << bit)
    | st.integers(1, 9).map(lambda n: 128**n - 1)
)
INT64 = nps.arrays(np.int64, st.integers(1, 20), elements=st.integers(-(2**63), 2**63 - 1))


@given(WORDS)
def test_a_varint_is_what_protobuf_reads(value: int) -> None:
    signed = value - (value >> 63 << 64)
    assert AnyValue.FromString(b"\x18" + varint(value)).int_value == signed
    assert AnyValue(int_value=signed).SerializeToString() == b"\x18" + varint(value)


@given(INT64 | nps.arrays(np.int64, 5, elements=st.integers(0, 300)))
def test_padded_varints_are_what_protobuf_reads_and_one_is_no_longer_than_it_must(values: np.ndarray) -> None:
    octets = padded(values)
    assert [AnyValue.FromString(b"\x18" + bytes(row)).int_value for row in octets] == values.tolist()
    assert octets.shape[1] == max(len(varint(value % 2**64)) for value in values.tolist())


@given(st.integers(1, 9), st.data())
def test_strips_are_each_records_columns_in_order(n: int, data: st.DataObject) -> None:
    columns: list[Octets] = []
    wanted = [b""] * n
    for _ in range(data.draw(st.integers(1, 5))):
        before = data.draw(st.binary(min_size=not columns, max_size=4))  # a strip is never empty
        own = data.draw(nps.arrays(np.uint8, (n, data.draw(st.integers(0, 4)))))
        present = data.draw(st.none() | nps.arrays(np.bool_, n))
        columns.append(Octets(before, own, present))
        there = [True] * n if present is None else present.tolist()
        wanted = [row + (before + bytes(own[at]) if there[at] else b"") for at, row in enumerate(wanted)]
    assert strips(n, columns) == wanted
    lengths = sum(np.zeros(n, np.int64) + column.lengths for column in columns)
    assert lengths.tolist() == list(map(len, wanted))  # type: ignore[union-attr]  # an array: there is a column
