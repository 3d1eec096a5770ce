"""What natlens relies on when it sends metrics, shown on Prometheus with points made by hand."""

import pytest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from natlens.otlp.request import Request
from natlens.telemetry.identity import agent_resource
from tests.stores.points import Point, births, node, sums
from tests.stores.prometheus import Prometheus
from tests.stores.store import valued

SECOND = 10**9
STEP = 15 * SECOND
INCREASE = "sum by (series) (increase(flow_io_bytes_total[10m]))"


def taken(store: Prometheus, *requests: Request) -> None:
    for request in requests:
        answer = store.export(request)
        assert (answer.status, answer.body) == (200, b"")


def refused(store: Prometheus, request: Request) -> str:
    answer = store.export(request)
    assert answer.status == 400
    return answer.body.decode()


def burst(began_ns: int, series: str = "a", value: int = 700) -> list[Point]:
    """Return the points of a series that counted only before its first collection."""
    return [Point(series, began_ns, began_ns + n * STEP, value) for n in (1, 2, 3)]


def test_a_burst_is_counted_only_where_the_series_began_with_0(prometheus: Prometheus, began_ns: int) -> None:
    with_birth, without = burst(began_ns, "birth"), burst(began_ns, "none")
    taken(prometheus, sums(births(with_birth[:1])))
    for pair in zip(with_birth, without, strict=True):
        taken(prometheus, sums(pair))

    found = valued(prometheus.instant(INCREASE, began_ns + 3 * STEP), "series")
    assert found == {("birth",): 700, ("none",): 0}


def test_what_comes_back_from_0_is_counted_on(prometheus: Prometheus, began_ns: int) -> None:
    again = [Point("a", began_ns + 10 * STEP, began_ns + n * STEP, 40) for n in (11, 12)]
    first = burst(began_ns)
    taken(prometheus, *(sums([point]) for point in (*births(first[:1]), *first, *births(again[:1]), *again)))

    assert prometheus.one(INCREASE, began_ns + 12 * STEP) == 740
    assert prometheus.refused() == {}


@pytest.mark.parametrize(("points", "factor"), [(20, 1.025), (1, 1.5)])
def test_a_series_that_stays_for_a_while_is_hardly_overestimated_after_it(
    prometheus: Prometheus, began_ns: int, points: int, factor: float
) -> None:
    """Prometheus takes it to go on for half a step after its last point: so a series is told of until it expires."""
    burst = [Point("a", began_ns, began_ns + n * STEP, 700) for n in range(1, points + 1)]
    taken(prometheus, sums(births(burst[:1])), *(sums([point]) for point in burst))

    assert prometheus.one(INCREASE, burst[-1].time_ns) == 700
    assert prometheus.one(INCREASE, burst[-1].time_ns + 4 * STEP) == pytest.approx(700 * factor)


def test_births_before_all_else_are_taken_over_many_requests(prometheus: Prometheus, began_ns: int) -> None:
    series = [f"{n}" for n in range(20)]
    for step in range(4):
        start_ns = began_ns + step * STEP
        born = [Point(one, start_ns, start_ns, 0) for one in series[step * 5 : step * 5 + 5]]
        live = [
            Point(one, began_ns + n // 5 * STEP, start_ns + STEP, (step + 1) * 10)
            for n, one in enumerate(series[: step * 5 + 5])
        ]
        taken(prometheus, sums(born[:3]), sums(born[3:]), *(sums(live[at : at + 4]) for at in range(0, len(live), 4)))

    found = valued(prometheus.instant(INCREASE, began_ns + 4 * STEP), "series")
    assert found == {(one,): 40 for one in series}
    assert prometheus.refused() == {}


def test_a_resource_whose_time_goes_back_is_refused(prometheus: Prometheus, began_ns: int) -> None:
    """Not for the point's sake, whose series is new, but for ``target_info``'s."""
    old, new = burst(began_ns, "old")[0], burst(began_ns, "new")[0]
    taken(prometheus, sums(births([old])), sums([old]))
    assert "out of order" in refused(prometheus, sums(births([new])))
    taken(prometheus, sums([new]))

    found = valued(prometheus.instant("flow_io_bytes_total", began_ns + STEP), "series")
    assert found == {
        ("old",): 700,
        ("new",): 700,
    }


def test_a_refused_request_is_lost_as_a_whole(prometheus: Prometheus, began_ns: int) -> None:
    old, new = burst(began_ns, "old"), burst(began_ns, "new")
    taken(prometheus, sums(old[1:2]))
    refused(prometheus, sums([old[0], new[2]]))
    assert valued(prometheus.instant("flow_io_bytes_total", began_ns + 3 * STEP), "series") == {("old",): 700}


def test_births_and_later_points_in_one_request_are_refused(prometheus: Prometheus, began_ns: int) -> None:
    """The whole resource would be told of at the time of its births again, after it was told of at a later one."""
    first, second = burst(began_ns)[0], burst(began_ns + STEP, "b")[0]
    taken(prometheus, sums([*births([first]), first]))
    taken(prometheus, sums([*births([second]), second]))  # nothing but that time was told of before
    third = burst(began_ns + STEP, "c")[0]
    assert "out of order" in refused(prometheus, sums([*births([third]), third]))


def test_a_series_cannot_be_born_at_the_time_of_its_last_point(prometheus: Prometheus, began_ns: int) -> None:
    """So one that expired must have been left out of one collection before it may come back."""
    last = burst(began_ns)[0]
    taken(prometheus, sums(births([last])), sums([last]))
    again = Point("a", last.time_ns, last.time_ns, 0)
    assert "duplicate sample" in refused(prometheus, sums([again]))


def test_a_second_sender_of_the_same_resource_spoils_the_first(prometheus: Prometheus, began_ns: int) -> None:
    """As the agent's own telemetry would be, which is collected at times of its own."""
    flows, own = burst(began_ns)[0], burst(began_ns + STEP // 3, "own")[0]
    taken(prometheus, sums(births([flows])), sums([flows]), sums([own]))
    assert "out of order" in refused(prometheus, sums([Point("born", flows.time_ns, flows.time_ns, 0)]))


def test_the_agent_itself_is_another_resource(prometheus: Prometheus, began_ns: int) -> None:
    flows, own = burst(began_ns)[0], burst(began_ns + STEP // 3, "own")[0]
    taken(prometheus, sums(births([flows])), sums([flows]), sums([own], agent_resource(node())))
    taken(prometheus, sums([Point("born", flows.time_ns, flows.time_ns, 0)]))
    assert prometheus.refused() == {}


@pytest.mark.parametrize("shift_ns", [0, SECOND])
def test_two_nodes_with_the_same_series_are_added(prometheus: Prometheus, began_ns: int, shift_ns: int) -> None:
    def tell(of: Resource, points: list[Point]) -> None:
        taken(prometheus, sums(births(points[:1]), of), *(sums([point], of) for point in points))

    tell(node("node-a"), burst(began_ns, value=700))
    tell(node("node-b"), burst(began_ns - shift_ns, value=50))

    at_ns = began_ns + 3 * STEP
    found = valued(prometheus.instant("increase(flow_io_bytes_total[10m])", at_ns - shift_ns), "series", "instance")
    assert len(found) == 2
    assert prometheus.one("sum(flow_io_bytes_total)", at_ns) == 750
    assert prometheus.one("count(count by (instance) (target_info))", at_ns) == 2
    assert prometheus.refused() == {}
