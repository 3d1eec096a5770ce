"""Columns become counters: of each new connection what is known, of each end what it was named as."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from natlens.flows.connection import CONNECTION, Nat
from natlens.health import Health
from natlens.identity.endpoint import UNKNOWN, Endpoint
from natlens.identity.ends import End, Ends
from natlens.kernel.structs import TranslationSource
from natlens.telemetry.tallies import WORDS, tally_connections, tally_ends

rows = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(list(Nat)), st.sampled_from(list(TranslationSource)[1:]), st.integers(-1, 3)
    ),
    max_size=30,
)


def word(nat: Nat, source: TranslationSource, zone: int) -> str:
    if nat:
        return source.name.lower()
    return "none" if zone >= 0 else "unknown"


@given(rows)
def test_every_new_connection_counts_once_by_what_is_known(of: list[tuple[int, Nat, TranslationSource, int]]) -> None:
    connections = np.zeros(len(of), CONNECTION)
    for row, (sequence, nat, source, zone) in zip(connections, of, strict=True):
        row["sequence"], row["nat"], row["zone"] = sequence, nat, zone
        row["nat_source"] = source if nat else 0
    health = Health()
    tally_connections(connections, health)
    new = [word(nat, source, zone) for sequence, nat, source, zone in of if sequence == 0]
    assert {one: health.count("connections_new", translation=one) for one in WORDS} == {
        one: new.count(one) for one in WORDS
    }
    assert health.count("connections_new") == len(new)


def test_ends_count_by_kind() -> None:
    pod, service = Endpoint(k8s_object_kind="pod"), Endpoint(k8s_object_kind="service")
    each = [End("10.0.0.1", pod), End("10.0.0.2", pod), End("192.0.2.1", UNKNOWN)]
    source = Ends.of(np.array([0, 0, 1, 2]), each)
    destination = Ends.of(np.array([0, 0, 0, 0]), [End("10.96.0.1", service)])
    translated = Ends.of(np.array([-1, 0, 0, -1]), [End("10.0.0.3", pod)])
    nothing = Ends.of(np.full(4, -1), [])
    health = Health()
    tally_ends((source, destination, nothing, translated), health)
    assert health.snapshot() == {
        "identity_ends{kind=pod}": 5,
        "identity_ends{kind=service}": 4,
        "identity_ends{kind=unknown}": 1,
    }
