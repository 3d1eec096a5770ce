"""What ``delta_to_cumulative`` makes of delta points, shown with points made by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.build import Binaries
from tests.stores.points import Point, births, delta
from tests.stores.route import Route
from tests.stores.store import valued

SECOND = 10**9
STEP = 15 * SECOND
INCREASE = "sum by (series) (increase(flow_io_bytes_total[10m]))"


@pytest.fixture
def converted(stores: Binaries, collector_binary: Path, tmp_path: Path) -> Iterator[Route]:
    with Route("delta", tmp_path, stores, collector_binary) as running:
        yield running


def interval(began_ns: int, number: int, value: int, series: str) -> Point:
    """Return what was counted in an interval; the first is number 1."""
    return Point(series, began_ns + (number - 1) * STEP, began_ns + number * STEP, value)


def test_the_first_delta_is_counted_only_after_a_delta_of_0(converted: Route, began_ns: int) -> None:
    first = [interval(began_ns, 2, 700, series) for series in ("birth", "none")]
    converted.send([delta(births(first[:1])), delta(first)])
    converted.send([delta([interval(began_ns, 4, 40, "birth"), interval(began_ns, 4, 40, "none")])])
    converted.settle()

    found = valued(converted.store.instant(INCREASE, began_ns + 4 * STEP), "series")
    assert found["birth",] == 740
    assert found["none",] < 100  # the 40, and what is made of the time before
    assert valued(converted.store.instant("flow_io_bytes_total", began_ns + 4 * STEP), "series") == {
        ("birth",): 740,
        ("none",): 740,
    }


def test_a_delta_of_0_before_what_comes_back_changes_nothing_but_when(converted: Route, began_ns: int) -> None:
    """The value stands until just before, so that a rate has it in the right minute."""
    first, again = interval(began_ns, 1, 700, "a"), interval(began_ns, 9, 40, "a")
    converted.send([delta(births([first])), delta([first]), delta(births([again])), delta([again])])
    converted.settle()

    at_ns = began_ns + 9 * STEP
    assert converted.store.one(INCREASE, at_ns) == 740
    assert converted.store.one("increase(flow_io_bytes_total[30s])", at_ns) == pytest.approx(80)  # 40 in 15 s
