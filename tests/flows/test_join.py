"""The join by example: what each step is there for."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from natlens.flows import hashing, plain
from natlens.flows.connection import EndReason, Nat, State
from natlens.flows.join import Carry, Joined, join
from natlens.flows.report import LINGER_NS, Limits
from natlens.flows.tuples import ICMP, TCP, UDP, inverse, pack_address, same, starts
from natlens.kernel.structs import TUPLE, ConntrackWord, Side, Syn, TranslationSource
from natlens.kernel.windows import ROWS, TRANSLATIONS, Window

SECOND = 10**9
LIMITS = Limits(idle_ns=30 * SECOND, tcp_idle_ns=600 * SECOND, settle_ns=SECOND // 4, max_connections=1000)
CLIENT, SERVICE, POD, OTHER = "10.244.1.2", "10.96.0.10", "10.244.2.2", "10.244.3.2"
VALUES, LEARNED = ROWS["value"].names or (), TRANSLATIONS["value"].names or ()
FIN, SYN, RST, ACK = 1, 2, 4, 16
OPENS, ANSWERS = Syn.SEEN | Syn.FIRST, Syn.SEEN | Syn.FIRST | Syn.ACKED

Array = npt.NDArray[np.void]


def one(src: str, sport: int, dst: str, dport: int, proto: int = TCP) -> Array:
    """Return one directed tuple, shape (1,)."""
    made = np.zeros(1, TUPLE)
    made["src"], made["dst"] = (np.frombuffer(pack_address(address), np.uint8) for address in (src, dst))
    made["sport"], made["dport"], made["proto"], made["family"] = sport, dport, proto, 4
    return made


def row(tuples: Array, octets: int = 100, *, first: float = 1, last: float = 2, **more: int) -> Array:
    """Return one row; times in s of the window."""
    made = np.zeros(1, ROWS)
    made["key"]["tuple"], made["key"]["ifindex"], made["key"]["side"] = tuples, more.pop("ifindex", 3), Side.INGRESS
    made["value"]["octets"], made["value"]["packets"] = octets, 1
    made["value"]["first_ns"], made["value"]["last_ns"] = first * SECOND, last * SECOND
    for name, value in more.items():
        made["value" if name in VALUES else "key"][name] = value
    return made


def translation(original: Array, translated: Array, *, born: float = 1, seen: float = 9, **more: int) -> Array:
    made = np.zeros(1, TRANSLATIONS)
    made["key"]["original"], made["key"]["reply"] = original, inverse(translated)
    made["value"]["first_ns"], made["value"]["last_ns"] = born * SECOND, seen * SECOND
    made["value"]["source"] = TranslationSource.TC
    for name, value in more.items():
        made["value" if name in LEARNED else "key"][name] = value
    return made


def joined(
    *parts: Array, carry: Carry | None = None, end: float = 10, flush: bool = False, limits: Limits = LIMITS
) -> Joined:
    rows = [part for part in parts if part.dtype == ROWS]
    news = [part for part in parts if part.dtype == TRANSLATIONS]
    window = Window(
        np.concatenate([np.zeros(0, ROWS), *rows]),
        np.concatenate([np.zeros(0, TRANSLATIONS), *news]),
        0,
        int(end * SECOND),
        1000 * SECOND,
    )
    return join(window, carry or Carry(), limits, flush=flush)


def only(result: Joined) -> Any:
    assert len(result.connections) == 1, result.connections
    return result.connections[0]


TO_SERVICE, TO_POD = one(CLIENT, 40000, SERVICE, 80), one(CLIENT, 40000, POD, 8080)


def test_inverse_of_inverse_and_who_starts() -> None:
    for tuples in (
        TO_SERVICE,
        one(CLIENT, 7, POD, 8 << 8, ICMP),
        one(CLIENT, 5, POD, 5, UDP),
        one(CLIENT, 0, POD, 0, 47),
    ):
        assert same(inverse(inverse(tuples)), tuples).all()
        assert starts(tuples)[0] != starts(inverse(tuples))[0]


def test_a_call_to_a_service_is_one_connection() -> None:
    found = only(joined(row(TO_SERVICE, 70), row(inverse(TO_POD), 90), translation(TO_SERVICE, TO_POD)))
    assert same(found["original"].reshape(1), TO_SERVICE).all()
    assert same(found["translated"].reshape(1), TO_POD).all()
    assert (found["forward_octets"], found["reverse_octets"], found["nat"]) == (70, 90, Nat.DNAT)
    assert found["start_ns"] == 1001 * SECOND


def test_translation_that_comes_with_the_next_window() -> None:
    young = joined(row(TO_SERVICE, first=9.9, last=9.95))
    assert not len(young.connections)
    assert len(young.carry.held) == 1
    found = only(joined(translation(TO_SERVICE, TO_POD), carry=young.carry, end=20))
    assert (found["nat"], found["forward_octets"]) == (Nat.DNAT, 100)


def test_translation_that_comes_later_still_keeps_the_name() -> None:
    before = joined(row(TO_SERVICE))
    after = joined(
        row(TO_SERVICE, first=11, last=12), translation(TO_SERVICE, TO_POD, born=11), carry=before.carry, end=20
    )
    assert (only(before)["flow_id"] == only(after)["flow_id"]).all()
    assert (only(before)["nat"], only(after)["nat"]) == (Nat.NONE, Nat.DNAT)
    assert only(after)["sequence"] == 1


@pytest.mark.parametrize(
    ("evidence", "turned"),
    [
        ({}, False),  # the lower port is the server's
        ({"syn": ANSWERS, "tcp_flags": SYN | ACK}, True),
        ({"syn": OPENS, "tcp_flags": SYN}, False),
        ({"conntrack": ConntrackWord.REPLY}, True),
        ({"conntrack": ConntrackWord.REPLY, "syn": OPENS, "tcp_flags": SYN}, True),  # conntrack's word is the stronger
    ],
)
def test_who_initiated_a_connection_without_nat(evidence: dict[str, int], turned: bool) -> None:
    found = only(joined(row(TO_POD, **evidence)))
    assert same(found["original"].reshape(1), inverse(TO_POD) if turned else TO_POD).all()


def test_one_tuple_two_entries_is_split_by_what_each_counted() -> None:
    other = one(CLIENT, 40000, OTHER, 8080, UDP)
    service, pod = one(CLIENT, 40000, SERVICE, 53, UDP), one(CLIENT, 40000, POD, 8080, UDP)
    entries = [
        translation(service, pod, born=1, forward_octets=30, forward_packets=3),
        translation(service, other, born=1.5, forward_octets=60, forward_packets=6),
    ]
    asked = row(service, 100, packets=10)
    result = joined(asked, row(inverse(pod), 5), row(inverse(other), 7), *entries)
    assert sorted(result.connections["forward_octets"].tolist()) == [40, 60]  # ten octets without evidence: the oldest
    assert sorted(result.connections["reverse_octets"].tolist()) == [5, 7]
    assert result.ambiguous_octets == 10


def test_port_reused_is_another_connection() -> None:
    first = row(TO_SERVICE, 10, first=1, last=2, syn=OPENS, syn_seq=111, tcp_flags=SYN | RST)
    again = row(TO_SERVICE, 20, first=3, last=4, syn=OPENS, syn_seq=222, tcp_flags=SYN | ACK)
    result = joined(first, again, translation(TO_SERVICE, TO_POD))
    assert sorted(result.connections["forward_octets"].tolist()) == [10, 20]
    assert len(np.unique(result.connections["flow_id"], axis=0)) == 2


def test_retransmitted_syn_is_not() -> None:
    first = joined(row(TO_POD, first=9, last=9.5, syn=OPENS, syn_seq=111, tcp_flags=SYN))
    again = joined(row(TO_POD, first=11, last=11, syn=OPENS, syn_seq=111, tcp_flags=SYN), carry=first.carry, end=20)
    assert (only(again)["sequence"], only(again)["state"]) == (1, State.UNANSWERED)


def test_states_and_ends() -> None:
    both = row(TO_POD, tcp_flags=FIN | ACK), row(inverse(TO_POD), tcp_flags=FIN | ACK)
    assert (only(joined(*both))["state"], only(joined(*both))["end_reason"]) == (
        State.CLOSED,
        EndReason.END_OF_FLOW_DETECTED,
    )
    refused = only(joined(row(TO_POD, tcp_flags=SYN), row(inverse(TO_POD), tcp_flags=RST | ACK)))
    assert refused["state"] == State.RESET
    open_ = only(joined(row(TO_POD, tcp_flags=ACK), row(inverse(TO_POD), tcp_flags=ACK)))
    assert (open_["state"], open_["end_reason"]) == (State.NEW, EndReason.ACTIVE_TIMEOUT)
    assert only(joined(row(TO_POD), flush=True))["end_reason"] == EndReason.FORCED_END


def test_last_segments_may_still_come() -> None:
    ending = joined(
        row(TO_POD, first=9, last=9.9, tcp_flags=FIN | ACK),
        row(inverse(TO_POD), first=9, last=9.9, tcp_flags=FIN | ACK),
    )
    assert not len(ending.connections)
    late = only(joined(row(TO_POD, 40, first=10.1, last=10.1, tcp_flags=ACK), carry=ending.carry, end=20))
    assert (late["forward_octets"], late["end_reason"], late["sequence"]) == (140, EndReason.END_OF_FLOW_DETECTED, 0)


def test_straggler_of_an_ended_connection_is_its_own() -> None:
    ended = joined(row(TO_POD, tcp_flags=RST))
    late = joined(row(TO_POD, 40, first=11, last=11, tcp_flags=RST), carry=ended.carry, end=11.5)
    assert (only(late)["sequence"], only(late)["forward_octets_total"]) == (1, 140)
    forgotten = joined(carry=late.carry, end=11.5 + LINGER_NS / SECOND)
    assert not len(forgotten.carry.live)


def test_silence_ends() -> None:
    udp = one(CLIENT, 40000, POD, 53, UDP)
    spoken = joined(row(udp), row(inverse(udp)))
    assert not len(joined(carry=spoken.carry, end=31).connections)
    ended = joined(carry=spoken.carry, end=33)
    assert only(ended)["end_reason"] == EndReason.IDLE_TIMEOUT
    assert not len(ended.carry.live)


def test_full_table_ends_what_was_silent_for_longest() -> None:
    few = Limits(LIMITS.idle_ns, LIMITS.tcp_idle_ns, LIMITS.settle_ns, max_connections=2)
    rows = [row(one(CLIENT, 40000 + n, POD, 80), last=2 + n) for n in range(3)]
    result = joined(*rows, limits=few)
    reasons = dict(zip(result.connections["original"]["sport"], result.connections["end_reason"], strict=True))
    assert reasons[40000] == EndReason.LACK_OF_RESOURCES
    assert len(result.carry.live) == 2


def test_entry_without_packets_is_no_connection() -> None:
    known = joined(translation(TO_SERVICE, TO_POD, source=TranslationSource.DUMP))
    assert not len(known.connections)
    found = only(joined(row(TO_SERVICE, first=11, last=12), carry=known.carry, end=20))
    assert found["nat_source"] == TranslationSource.DUMP


def test_zones_are_told_apart_by_the_interface() -> None:
    ends = [translation(TO_SERVICE, TO_POD, zone=zone, forward_ifindex=3 + zone) for zone in (1, 2)]
    result = joined(row(TO_SERVICE, 10, ifindex=4), row(TO_SERVICE, 20, ifindex=5), *ends)
    octets = dict(zip(result.connections["zone"].tolist(), result.connections["forward_octets"].tolist(), strict=True))
    assert octets == {1: 10, 2: 20}


def test_hashes_that_collide_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(one(CLIENT, 40000 + n, POD, 80), 10 + n) for n in range(4)]
    real = hashing.hash_tuples
    monkeypatch.setattr(
        plain, "hash_tuples", lambda tuples, seed=0: real(tuples, seed) if seed else np.ones(len(tuples), np.uint64)
    )
    assert sorted(joined(*rows).connections["forward_octets"].tolist()) == [10, 11, 12, 13]
