"""The rules of time: what an address was, from whole seconds and from events that come late."""

import pytest
from tests.identity.clusters import backend, index, node, ns, pod, service, slice_of

from natlens.health import Health
from natlens.identity.endpoint import UNKNOWN
from natlens.identity.index import Index
from natlens.identity.objects import EndpointSlice, Node, Pod, Service

IP = "10.1.0.1"


def name(of: Index, second: float, address: str = IP, port: int = 0) -> str | None:
    found = of.endpoint(address, port, 6, ns(second))
    return found.k8s_pod_name or found.k8s_service_name or found.k8s_node_name


def test_pod_is_named_from_its_start_and_with_certainty_a_second_after_its_container_started() -> None:
    of = index()
    of.put(pod("a", IP, begin=10, started=12), ns(14))
    assert [name(of, second) for second in (9.9, 10, 11, 13, 1000)] == [None, "a", "a", "a", "a"]
    of.put(pod("b", IP, begin=10, started=20), ns(22))  # b may have had it too, but a surely did
    assert [name(of, second) for second in (11, 12.9, 13, 20.9)] == [None, None, "a", "a"]


@pytest.mark.parametrize(
    ("one", "sure_since"),
    [
        (pod("a", IP, begin=10, started=12), 13),
        (pod("a", IP, begin=10, ready=12), 13),
        (pod("a", IP, begin=10, ready=14, started=12), 13),
        (pod("a", IP, begin=10), 15),
        (pod("a", IP, begin=10, started=14.9), 15),
    ],
)
def test_certainty_begins_with_the_first_proof(one: Pod, sure_since: float) -> None:
    of = index()
    of.put(one, ns(15))
    assert of.explain(IP, 0, 6, ns(20)).known[0].held[:2] == (ns(10), ns(sure_since))


def test_restarted_container_ends_nothing() -> None:
    of = index()
    of.put(pod("a", IP, started=0), ns(1))
    of.put(pod("a", IP, started=0, finished=50), ns(51))
    assert name(of, 55) == "a"
    of.put(pod("b", IP, begin=50), ns(52))
    assert name(of, 51.5) == "a"


@pytest.mark.parametrize("end", [{"phase": "Succeeded"}, {"phase": "Failed"}, {"deleted": 40}])
def test_end_is_the_second_in_which_the_last_container_finished(end: dict[str, object]) -> None:
    of = index()
    of.put(pod("a", IP, started=0), ns(1))
    of.put(pod("a", IP, started=0, finished=50, **end), ns(51))  # type: ignore[arg-type]
    held = of.explain(IP, 0, 6, ns(50)).known[0].held
    assert (held.sure_until, held.until, held.gone) == (ns(50), ns(51), ns(111))
    of.put(pod("b", IP, begin=51, started=51), ns(53))
    assert [name(of, second) for second in (49.9, 50.5, 51.5, 52.1)] == ["a", "a", None, "b"]


def test_job_that_lived_for_less_than_a_second_and_is_seen_when_it_is_over() -> None:
    of = index()
    of.put(pod("job", IP, begin=10, started=10, finished=10, phase="Succeeded"), ns(12))
    assert [name(of, second) for second in (9.9, 10.4, 10.9, 60, 71.1)] == [None, "job", "job", "job", None]


def test_pod_that_is_over_for_long_or_nobody_knows_since_when_has_no_address() -> None:
    of = index()
    over = pod("old", IP, begin=10, started=10, finished=11, phase="Succeeded")
    evicted = pod("evicted", "10.1.0.2", begin=10, phase="Failed")
    of.replace(Pod, [over, evicted], ns(1000))
    assert name(of, 1000) is None
    assert name(of, 1000, "10.1.0.2") is None


def test_deleted_without_a_time_it_ended_up_to_the_delay_of_an_event_before() -> None:
    of = index()
    of.put(pod("a", IP, started=0), ns(2))
    of.delete(pod("a", IP, started=0), ns(50))
    held = of.explain(IP, 0, 6, ns(50)).known[0].held
    assert (held.sure_until, held.until, held.gone) == (ns(48), ns(50), ns(110))
    assert [name(of, second) for second in (49, 100, 110)] == ["a", "a", None]


def test_late_delete_of_an_older_uid_leaves_its_successor() -> None:
    of = index()
    of.put(pod("db-0", IP, uid="one", begin=0, started=0), ns(2))
    of.put(pod("db-0", "10.1.0.2", uid="two", begin=50, started=50), ns(52))
    of.delete(pod("db-0", IP, uid="one", begin=0, started=0), ns(53))
    assert name(of, 60, "10.1.0.2") == "db-0"
    held = of.explain(IP, 0, 6, ns(49)).known[0].held
    assert held.until == ns(51), "no later than its successor was created"
    of.put(pod("db-0", IP, uid="one", begin=0, started=0), ns(54))
    assert of.endpoint("10.1.0.2", 0, 6, ns(60)).k8s_pod_uid == "two"


def test_terminating_pod_yields_to_a_newcomer_and_two_live_ones_are_nobody() -> None:
    health = Health()
    of = index(health)
    of.put(pod("a", IP, started=0, deleted=40), ns(41))
    of.put(pod("b", IP, begin=45, started=45), ns(47))
    assert [name(of, second) for second in (44, 50)] == ["a", "b"]
    of = index(health)
    of.put(pod("a", IP, started=0), ns(41))
    of.put(pod("b", IP, begin=45, started=45), ns(47))
    assert health.count("identity_ambiguous") == 0
    assert of.endpoint(IP, 0, 6, ns(50)) is UNKNOWN
    assert health.count("identity_ambiguous") == 1


def test_pod_that_gets_another_address_had_it_from_the_event_on() -> None:
    of = index()
    of.put(pod("a", IP, started=0), ns(2))
    of.put(pod("a", "10.1.0.2", started=0), ns(100))
    assert [name(of, second) for second in (97, 100)] == ["a", "a"]
    held = of.explain("10.1.0.2", 0, 6, ns(100)).known[0].held
    assert held.sure_since == ns(100)


def test_pod_of_another_node_has_the_times_of_the_events() -> None:
    of = index()
    of.replace(EndpointSlice, [slice_of("web", backend(IP, "old"))], ns(0))
    assert name(of, -1000) == "old"
    of.put(slice_of("web", backend(IP, "old", terminating=True), backend("10.1.0.2", "new")), ns(100))
    of.put(slice_of("web", backend("10.1.0.2", "new")), ns(110))
    old = of.explain(IP, 0, 6, ns(110)).known[0].held
    assert (old.sure_until, old.until) == (ns(98), ns(110))
    new = of.explain("10.1.0.2", 0, 6, ns(110)).known[0].held
    assert new.since <= ns(40)
    assert new.sure_since == ns(100)
    assert [name(of, second) for second in (109, 169, 170)] == ["old", "old", None]


def test_pod_in_several_slices_is_one_and_gone_with_the_last() -> None:
    of = index()
    of.put(slice_of("a", backend(IP, "p")), ns(0))
    of.put(slice_of("b", backend(IP, "p")), ns(10))
    of.put(slice_of("a"), ns(50))
    of.put(slice_of("c", backend(IP, "other")), ns(100))
    assert [name(of, second) for second in (60, 99)] == ["p", "p"], "b has it still"
    assert name(of, 101) is None, "two say that they have it"
    of.delete(slice_of("b"), ns(105))
    assert name(of, 106) == "other"


def test_pods_own_object_is_the_authority_over_what_slices_say() -> None:
    of = index()
    of.put(slice_of("web", backend(IP, "p", node="n1")), ns(0))
    of.put(pod("p", IP, begin=-10, started=-9), ns(1))
    of.delete(pod("p", IP, begin=-10, started=-9, finished=50, deleted=49), ns(52))
    of.put(pod("q", IP, begin=51, started=51), ns(53))
    assert [name(of, second) for second in (49, 60)] == ["p", "q"], "though the slice still has p there"


def test_service_whose_address_was_given_to_another_within_a_second() -> None:
    of = index()
    of.replace(Service, [service("one", "10.96.0.1", created=-100)], ns(0))
    of.delete(service("one", "10.96.0.1", created=-100), ns(50.5))
    of.put(service("two", "10.96.0.1", created=50.3), ns(50.6))
    seconds = (48.4, 49.5, 50.2, 50.55, 51)
    assert [name(of, second, "10.96.0.1") for second in seconds] == ["one", "one", None, None, "two"]


def test_address_that_a_service_gets_later_was_not_its_before() -> None:
    of = index()
    of.put(service("one", "10.96.0.1", created=0), ns(1))
    of.put(service("one", "10.96.0.2", created=0), ns(100))
    held = of.explain("10.96.0.2", 0, 6, ns(100)).known[0].held
    assert held[:2] == (ns(98), ns(100))


def test_node_port_of_a_service_that_may_be_there_is_nobody_not_the_node() -> None:
    of = index()
    of.replace(Node, [node("n1", "192.168.0.1", created=-1000)], ns(0))
    of.put(service("web", "10.96.0.1", created=50, node_port=30080), ns(52))
    assert of.ports("192.168.0.1") == [(30080, 6)]
    seconds = (49, 50.5, 51)
    assert [name(of, second, "192.168.0.1", 30080) for second in seconds] == ["n1", None, "web"]
    of.delete(service("web", "10.96.0.1", created=50, node_port=30080), ns(90))
    seconds = (87, 89, 91)
    assert [name(of, second, "192.168.0.1", 30080) for second in seconds] == ["web", None, "n1"]
    assert list(of.borders("192.168.0.1", ns(49), ns(90))) == [ns(50), ns(51), ns(88), ns(90)]


def test_node_address_that_became_a_pods() -> None:
    of = index()
    of.replace(Node, [node("n2", IP, created=-1000)], ns(0))
    of.replace(Node, [], ns(600))
    of.put(slice_of("web", backend(IP, "p")), ns(610))
    assert name(of, 611, port=1234) == "p"
    assert name(of, -1) == "n2"


def test_what_a_full_list_lacks_is_gone_and_may_have_been_since_the_last_word() -> None:
    of = index()
    of.replace(Service, [service("one", "10.96.0.1"), service("two", "10.96.0.2")], ns(0))
    of.put(service("two", "10.96.0.2"), ns(60))
    of.replace(Service, [service("two", "10.96.0.2")], ns(300))
    held = of.explain("10.96.0.1", 0, 6, ns(300)).known[0].held
    assert (held.sure_until, held.until, held.gone) == (ns(58), ns(300), ns(360))
    of.put(service("heir", "10.96.0.1", created=200), ns(301))
    assert [name(of, second, "10.96.0.1") for second in (57, 150, 200.5, 250)] == ["one", "one", None, "heir"]
    assert name(of, 350, "10.96.0.2") == "two"


def test_list_of_this_nodes_objects_leaves_the_others() -> None:
    of = index(pods="node+lookup")
    of.put(pod("far", "10.2.0.1", node="n2", started=0), ns(10))
    of.part(own=False).replace(Node, [node("n1", "192.168.0.1"), node("n2", "192.168.0.2")], ns(10))
    own = of.part(own=True)
    own.replace(Node, [node("n1", "192.168.0.1")], ns(11))
    own.replace(Pod, [pod("near", IP, started=0)], ns(11))
    own.replace(Pod, [], ns(100))
    assert of.node_names() == {"n1", "n2"}
    assert [name(of, 50, "10.2.0.1"), name(of, 50, "192.168.0.1")] == ["far", "n1"]
    assert name(of, 161) is None


def test_pod_that_was_looked_up_is_forgotten_in_time_and_gives_way_to_whoever_is_sure() -> None:
    of = index(pods="node+lookup")
    of.put(pod("far", IP, node="n2", started=0), ns(10))
    assert [name(of, second) for second in (5, 600, 700)] == ["far", "far", None]
    of.put(pod("far", IP, node="n2", started=0), ns(500))
    assert name(of, 700) == "far"
    of.put(slice_of("web", backend(IP, "heir")), ns(800))
    assert name(of, 801) == "heir"
    of.purge(ns(2000))
    assert of.remembered == 1


def test_nothing_is_remembered_longer_than_the_grace() -> None:
    of = index()
    for number in range(300):
        one = pod(f"p{number}", IP, begin=number, started=number, finished=number, deleted=number)
        of.put(one, ns(number + 1))
        of.bind(IP, number + 2, ns(number + 0.1))
        of.unbind(number + 2, ns(number + 0.9))
        of.delete(one, ns(number + 1.5))
        of.purge(ns(number + 2))
        assert of.remembered < 300
    of.purge(ns(1000))
    assert of.remembered == 0
    assert of.explain(IP, 0, 6, ns(1000)).known == []


def test_twenty_thousand_reuses_leave_nothing_behind() -> None:
    of = index()
    for number in range(20_000):
        second = number / 10
        one = slice_of("web", backend(f"10.2.0.{number % 200}", f"p{number}"))
        of.put(one, ns(second))
        of.endpoint(f"10.2.0.{number % 200}", 8080, 6, ns(second))
        if number % 100 == 0:
            of.purge(ns(second))
            assert of.remembered < 800, "a minute's tombstones"
    of.purge(ns(4_000))
    of.replace(EndpointSlice, [], ns(4_001))
    of.purge(ns(6_000))
    assert of.remembered == 0


def test_file_has_no_history() -> None:
    of = Index(Health())
    of.replace(Pod, [pod("a", IP, begin=10, started=12)], ns(20))
    assert [name(of, second) for second in (-1000, 1000)] == ["a", "a"]
    of.replace(Pod, [pod("b", IP, begin=10, started=12)], ns(21))
    assert [name(of, second) for second in (-1000, 1000)] == ["b", "b"]
    assert of.borders(IP, ns(-1000), ns(1000)) == ()
    assert of.remembered == 1


def test_borders_are_where_answers_change() -> None:
    of = index()
    of.put(pod("a", IP, begin=10, started=12), ns(14))
    of.delete(pod("a", IP, begin=10, started=12), ns(50))
    assert list(of.borders(IP, ns(0), ns(1000))) == [ns(one) for one in (10, 13, 48, 50, 110)]
    assert list(of.borders(IP, ns(10), ns(48))) == [ns(13), ns(48)]
    assert list(of.borders("10.9.9.9", ns(0), ns(1000))) == []


def test_an_event_that_tells_nothing_new_costs_no_answer() -> None:
    of = index()
    of.replace(Node, [node("n1", "192.168.0.1", zone="z1")], ns(0))
    of.put(pod("a", IP, started=0), ns(1))
    before = of.endpoint(IP, 0, 6, ns(5)), of._views.get(IP)
    of.put(node("n1", "192.168.0.1", zone="z1"), ns(2))
    of.put(pod("a", IP, started=0, phase="Running"), ns(3))
    assert (of.endpoint(IP, 0, 6, ns(5)), of._views.get(IP)) == before
    of.put(node("n1", "192.168.0.1", zone="z2"), ns(4))
    assert of.endpoint(IP, 0, 6, ns(5)).cloud_availability_zone == "z2"
