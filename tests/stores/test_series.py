"""What natlens tells a store about its connections is what the store answers, by every way there."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest

from natlens.otlp.metrics.sets import chosen
from natlens.otlp.metrics.settings import MetricSettings
from tests.bench import shapes
from tests.stores.node import CLUSTER, SECOND, Call, Node
from tests.stores.route import Route
from tests.stores.store import valued

STEP = 15 * SECOND
EXPIRY = 60 * SECOND
BACKEND = ("destination_k8s_service_name", "flow_responder_k8s_pod_name")
INCREASE = "sum by (destination_k8s_service_name, flow_responder_k8s_pod_name) (increase(flow_io_bytes_total[20m]))"
RATE = "sum by (destination_k8s_service_name, flow_responder_k8s_pod_name) (rate(flow_io_bytes_total[1m]))"


def settings(route: Route, attributes: str = "service-backend") -> MetricSettings:
    return MetricSettings(chosen([attributes]), temporality=route.temporality, expiry_ns=EXPIRY)


def added(calls: Iterable[Call]) -> dict[tuple[str, str], int]:
    total: Counter[tuple[str, str]] = Counter()
    for call in calls:
        total[call.key] += call.octets
    return dict(total)


def test_a_burst_what_came_back_and_what_stayed(route: Route, began_ns: int) -> None:
    """A steady series, one with a burst now, and one that expired and came back."""
    node, calls = Node(settings(route), began_ns), []
    for number in range(1, 20):
        now = [Call(1, 7, 400, 1000 + number)]
        if number in (2, 15, 16):  # 15 - 2 intervals of 15 s are more than it takes to expire
            now += [Call(2, 8, 401, 70_000), Call(3, 8, 401, 7)]
        if number == 18:
            now += [Call(2, 9, 402, 1_234_567)]
        calls += now
        route.send(node.collect(began_ns + number * STEP, now))
    route.settle()

    assert valued(route.store.instant(INCREASE, began_ns + 19 * STEP), *BACKEND) == added(calls)


def test_a_burst_stays_what_it_was_while_its_series_lives(route: Route, began_ns: int) -> None:
    node, burst = Node(settings(route), began_ns), [Call(1, 7, 400, 123_457), Call(1, 8, 401, 1)]
    steady = [Call(1, 9, 402, 10)]
    for number in range(1, 6):
        route.send(node.collect(began_ns + number * STEP, [*burst, *steady] if number == 2 else steady))
    route.settle()

    found = route.store.over(INCREASE, began_ns + 2 * STEP, began_ns + 5 * STEP, STEP / SECOND)
    values = {tuple(labels[name] for name in BACKEND): values for labels, values in found}
    assert {call.key: values[call.key] for call in burst} == {call.key: [call.octets] * 4 for call in burst}


def test_the_rate_of_each_backend(route: Route, began_ns: int) -> None:
    """The query of a dashboard, as the documentation has it."""
    node = Node(settings(route), began_ns)
    calls = [Call(number, number % 4, 300 + number % 8, 15 * (number + 1)) for number in range(24)]
    for number in range(1, 9):
        route.send(node.collect(began_ns + number * STEP, calls))
    route.settle()

    found = valued(route.store.instant(RATE, began_ns + 8 * STEP), *BACKEND)
    assert found == {key: pytest.approx(octets / 15) for key, octets in added(calls).items()}


def test_two_nodes_are_added_and_never_collide(route: Route, began_ns: int) -> None:
    """Each has the same attributes, other times and other figures."""
    nodes = [Node(settings(route), began_ns + number, f"node-{number}") for number in range(2)]
    calls = []
    for number in range(1, 5):
        for at, node in enumerate(nodes):
            now = [Call(1, 7, 400, 1000 + at), Call(1, 7, 401, 10 * number)]
            calls += now
            route.send(node.collect(began_ns + number * STEP, now))
    route.settle()

    at_ns = began_ns + 4 * STEP
    assert valued(route.store.instant(INCREASE, at_ns), *BACKEND) == added(calls)
    assert len(route.store.instant("flow_io_bytes_total", at_ns)) == 2 * 2 * 2  # nodes, backends, directions


def test_twenty_thousand_points_over_split_requests(route: Route, began_ns: int) -> None:
    """As many sets of attributes as the limit lets live, and an overflow series that others go to."""
    node, octets, connections, points = Node(settings(route, "pod"), began_ns), 0, 0, list[int]()
    for number in range(1, 4):
        rows = shapes.connections(CLUSTER, 20_000, full=True, seed=number)
        octets += int(rows["forward_octets"].sum() + rows["reverse_octets"].sum())
        connections += int(np.count_nonzero(rows["sequence"] == 0))
        requests = list(node.collect_batch(began_ns + number * STEP, shapes.batch(CLUSTER, rows)))
        assert len(requests) > 4
        points.append(sum(request.records for request in requests))
        route.send(requests)
    route.settle()

    at_ns = began_ns + 3 * STEP
    assert route.store.one("sum(increase(flow_io_bytes_total[20m]))", at_ns) == octets
    assert route.store.one("sum(increase(flow_connection_count_total[20m]))", at_ns) == connections
    assert route.store.one("sum(increase(flow_io_bytes_total{otel_metric_overflow='true'}[20m]))", at_ns) > 0
    assert points[-1] in range(19_990, 20_001)  # nothing is born in it; six of a set at most are more than were free
