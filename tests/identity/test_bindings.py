"""What interfaces tell of local pods: to the nanosecond, in whatever order it comes."""

import itertools

import pytest
from tests.identity.clusters import index, node, ns, pod

from natlens.identity.index import Index
from natlens.identity.objects import Node

IP = "10.1.0.1"


def name(of: Index, second: float) -> str | None:
    return of.endpoint(IP, 0, 6, ns(second)).k8s_pod_name


def tell(of: Index, what: str) -> None:
    match what:
        case "bound":
            of.bind(IP, 5, ns(10.2))
            of.unbind(5, ns(100.45))
            of.bind(IP, 6, ns(100.5))
        case "old":
            of.put(pod("old", IP, begin=9, started=11), ns(12))
        case "finished":
            of.put(pod("old", IP, begin=9, started=11, finished=100.4, deleted=70), ns(101.9))
            of.delete(pod("old", IP, begin=9, started=11, finished=100.4, deleted=70), ns(102))
        case "new":
            of.put(pod("new", IP, begin=99, started=100.9), ns(102.1))


@pytest.mark.parametrize("order", list(itertools.permutations(["bound", "old", "new", "finished"])))
def test_address_given_to_another_within_50_ms_is_told_apart_whatever_the_order(order: tuple[str, ...]) -> None:
    if order.index("finished") < order.index("old"):
        return
    of = index()
    for what in order:
        tell(of, what)
        of.endpoint(IP, 0, 6, ns(100.47))
    seconds = (10.1, 10.3, 100.2, 100.449, 100.46, 100.499, 100.5, 101)
    assert [name(of, second) for second in seconds] == [None, *["old"] * 5, "new", "new"]


def test_without_interfaces_that_second_has_no_name() -> None:
    of = index()
    for what in ("old", "finished", "new"):
        tell(of, what)
    assert [name(of, second) for second in (99.5, 100.449, 100.5, 101)] == ["old", None, None, "new"]


def test_interface_of_a_pod_that_is_not_known_yet_is_nobodys() -> None:
    of = index(cluster_cidrs=())
    of.replace(Node, [node("n1", "192.168.0.1", cidr="10.1.0.0/24")], ns(0))
    tell(of, "old")
    tell(of, "bound")
    found = of.endpoint(IP, 0, 6, ns(100.6))
    assert (found.k8s_pod_name, found.k8s_node_name, found.k8s_object_kind) == (None, "n1", None)
    assert name(of, 100.47) == "old"


def test_interfaces_that_contradict_the_pods_tell_nothing() -> None:
    of = index()
    of.bind(IP, 5, ns(10.2))
    of.put(pod("a", IP, begin=9, started=11), ns(12))
    of.put(pod("b", IP, begin=9, started=11), ns(12))
    assert name(of, 50) is None
    of.delete(pod("b", IP, begin=9, started=11), ns(60))
    assert name(of, 70) == "a"


def test_interface_older_than_this_process_tells_only_of_its_end() -> None:
    of = index()
    of.bind(IP, 5, ns(1000))
    of.put(pod("a", IP, begin=9, started=11), ns(1001))
    of.unbind(5, ns(2000.5))
    assert [name(of, second) for second in (500, 1500, 2000.4)] == ["a", "a", "a"]
    assert of.explain(IP, 0, 6, ns(1500)).known[0].held.until == ns(2000.5)


def test_pod_whose_sandbox_was_made_anew_keeps_its_name() -> None:
    of = index()
    of.bind(IP, 5, ns(10.2))
    of.put(pod("a", IP, begin=9, started=11), ns(12))
    of.unbind(5, ns(100))
    of.bind(IP, 6, ns(101))
    of.put(pod("a", IP, begin=9, started=102.5), ns(104))
    assert [name(of, second) for second in (50, 99, 103, 500)] == ["a"] * 4


def test_evidence_that_was_lost_is_forgotten() -> None:
    of = index()
    tell(of, "old")
    tell(of, "bound")
    assert name(of, 100.6) is None
    of.forget_bindings()
    assert name(of, 100.6) == "old"
    of.unbind(6, ns(200))
    assert name(of, 300) == "old"


def test_route_that_moves_to_another_interface_ends_the_first_ones_time() -> None:
    of = index()
    of.bind(IP, 5, ns(10.2))
    tell(of, "old")
    of.bind(IP, 6, ns(100.5))
    tell(of, "new")
    of.unbind(5, ns(100.7))
    assert [name(of, second) for second in (100.4, 100.6)] == ["old", "new"]


def test_pods_of_other_nodes_have_no_interfaces_here() -> None:
    of = index()
    of.bind(IP, 5, ns(10.2))
    of.unbind(5, ns(20))
    of.put(pod("far", IP, node="n2", begin=9, started=11), ns(12))
    assert name(of, 50) == "far"


def test_interface_outlives_the_grace_where_a_pod_is_still_said_to_have_it() -> None:
    of = index()
    tell(of, "old")
    tell(of, "bound")
    of.purge(ns(10_000))
    assert name(of, 10_001) is None, "its interface is gone, though the API does not say so yet"


def test_pod_that_surely_began_before_an_interface_was_there_has_an_older_one() -> None:
    of = index()
    of.bind(IP, 5, ns(10.2))
    of.unbind(5, ns(10.4))
    of.bind(IP, 6, ns(11.5))
    of.put(pod("short", IP, begin=9, started=10.3), ns(12))
    assert [name(of, second) for second in (10.3, 11, 12)] == ["short", "short", None], "its end was not told of yet"


def test_while_nobody_listened_an_address_is_in_doubt() -> None:
    of = index()
    of.bind(IP, 5, ns(10.2), ns(10.2))
    for what in ("old", "finished", "new"):
        tell(of, what)
    of.unbind(5, ns(100.5), ns(100.4))  # it was gone at the one time, and not yet at the other
    of.bind(IP, 6, ns(100.5), ns(100.4))
    seconds = (100.2, 100.39, 100.41, 100.49, 100.51, 101)
    assert [name(of, second) for second in seconds] == ["old", "old", None, None, "new", "new"]
