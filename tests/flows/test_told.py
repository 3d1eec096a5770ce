"""What conntrack's events tell of a window: an entry is in use from its first row to its last, within its life."""

import numpy as np
import pytest

from natlens.flows.join import Carry
from natlens.flows.oneway import unexplained
from natlens.flows.told import translations_of
from natlens.flows.tuples import ICMP, ICMP6, SCTP, TCP, UDP, inverse, same
from natlens.kernel.ctevents import EVENT
from natlens.kernel.structs import Side, TranslationSource
from natlens.kernel.windows import ROWS, TRANSLATIONS, Window
from tests.flows.test_join import CLIENT, OTHER, POD, SECOND, SERVICE, Array, joined, one, row, translation

TO_SERVICE, TO_POD = one(CLIENT, 40000, SERVICE, 80), one(CLIENT, 40000, POD, 8080)
TO_OTHER = one(CLIENT, 40000, OTHER, 8080)


def event(original: Array, translated: Array, at: float, *, after: float | None = None, ends: bool = False) -> Array:
    made = np.zeros(1, EVENT)
    made["key"]["original"], made["key"]["reply"] = original, inverse(translated)
    made["after_ns"], made["at_ns"], made["ends"] = (at - 0.001 if after is None else after) * SECOND, at * SECOND, ends
    return made


def window(*rows: Array) -> Window:
    return Window(np.concatenate([np.zeros(0, ROWS), *rows]), np.zeros(0, TRANSLATIONS), 0, 10 * SECOND, 0)


def lives(found: Array) -> list[tuple[float, float]]:
    """Return when each was first and last seen, in s."""
    return [(one["first_ns"] / SECOND, one["last_ns"] / SECOND) for one in found["value"]]


def tell(events: list[Array], *rows: Array, carry: Carry | None = None) -> tuple[Array, Array]:
    return translations_of(np.concatenate([np.zeros(0, EVENT), *events]), window(*rows), (carry or Carry()).live)


def test_an_entry_lasts_until_its_last_packet_in_either_direction() -> None:
    found, again = tell(
        [event(TO_SERVICE, TO_POD, 1)], row(TO_SERVICE, first=1, last=3), row(inverse(TO_POD), first=1, last=5)
    )
    assert lives(found) == [(1, 5)]
    assert found["value"]["source"].tolist() == [TranslationSource.CTNETLINK]
    assert not len(again)


def test_an_entry_that_was_told_of_late_began_with_its_first_packet() -> None:
    earlier, own = row(TO_SERVICE, first=1, last=1.5), row(TO_SERVICE, first=3, last=3.1)
    found, _ = tell([event(TO_SERVICE, TO_POD, 5, after=2.5)], earlier, own, row(inverse(TO_POD), first=3.05, last=3.1))
    assert lives(found) == [(3, 3.1)]
    found, _ = tell([event(TO_SERVICE, TO_POD, 5, after=4.5)], earlier, own)
    assert lives(found) == [(5, 5)]


def test_an_entry_without_packets_is_told_as_what_it_is() -> None:
    found, _ = tell([event(TO_SERVICE, TO_POD, 1)])
    assert lives(found) == [(1, 1)]


def test_packets_after_its_end_are_another_ones() -> None:
    """One port towards a Service, then to the pod itself: the pod's answers look the same."""
    answers = inverse(TO_POD)
    found, again = tell(
        [event(TO_SERVICE, TO_POD, 1), event(TO_SERVICE, TO_POD, 2, ends=True), event(TO_POD, TO_POD, 3)],
        row(TO_SERVICE, first=1, last=1.5),
        row(answers, first=1, last=1.4),
        row(TO_POD, first=3, last=4),
        row(answers, first=3, last=4),
    )
    assert lives(found) == [(1, 1.5), (3, 4)]
    assert len(again) == 1


def test_two_lives_under_one_name_each_have_their_own_end() -> None:
    found, _ = tell(
        [
            event(TO_SERVICE, TO_POD, 1),
            event(TO_SERVICE, TO_POD, 2, ends=True),
            event(TO_SERVICE, TO_POD, 3),
            event(TO_SERVICE, TO_POD, 4, ends=True),
        ],
        row(TO_SERVICE, first=1, last=9),
    )
    assert lives(found) == [(1, 2), (3, 4)]


def test_what_is_known_is_told_again_while_it_is_used_and_not_after_its_end() -> None:
    known = joined(row(TO_SERVICE), translation(TO_SERVICE, TO_POD, born=1)).carry
    used, _ = tell([], row(TO_SERVICE, first=6, last=7), carry=known)
    assert lives(used) == [(1, 7)]
    assert not len(tell([], row(TO_OTHER, first=6, last=7), carry=known)[0])
    found, again = tell([event(TO_SERVICE, TO_POD, 3, ends=True)], carry=known)
    assert not len(found)
    assert not len(tell([again], row(inverse(TO_POD), first=6, last=7), carry=known)[0])


def test_the_end_of_what_nobody_knows_is_forgotten() -> None:
    found, again = tell([event(TO_SERVICE, TO_POD, 3, ends=True)], row(TO_SERVICE))
    assert not len(found)
    assert not len(again)


@pytest.mark.parametrize("proto", [TCP, UDP])
def test_a_connection_that_was_forgotten_is_asked_for(proto: int) -> None:
    dialled, answers = one(CLIENT, 40000, SERVICE, 80, proto), one(POD, 8080, CLIENT, 40000, proto)
    seen = window(row(dialled), row(answers))
    assert same(unexplained(seen, Carry(), every=True), np.sort(np.concatenate([dialled, answers]))).all()
    known = joined(row(dialled), translation(dialled, inverse(answers), born=1)).carry
    assert not len(unexplained(seen, known, every=True))


def test_protocols_that_are_asked_for_where_packets_do_not_tell() -> None:
    """The first packet of a connection, seen by a hook, is all there may be; an ICMP error has no entry."""
    init = one(CLIENT, 40000, SERVICE, 80, SCTP)
    echo, unreachable = one(CLIENT, 7, SERVICE, 8 << 8, ICMP), one(CLIENT, 0, SERVICE, 3 << 8, ICMP)
    echo6, neighbour = one("fd00::1", 7, "fd00::2", 128 << 8, ICMP6), one("fd00::1", 0, "fd00::2", 135 << 8, ICMP6)
    seen = window(*map(row, (init, echo, unreachable, echo6, neighbour)))
    expected = np.sort(np.concatenate([init, echo, echo6]))
    assert same(unexplained(seen, Carry(), every=True), expected).all()
    assert not len(unexplained(seen, Carry()))


def test_what_the_host_sent_is_asked_for_by_its_answer() -> None:
    sent = row(TO_POD)
    sent["key"]["side"] = Side.EGRESS
    assert same(unexplained(window(sent), Carry(), every=True), inverse(TO_POD)).all()
    assert not len(unexplained(window(sent), Carry()))
