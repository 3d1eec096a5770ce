"""Kinds of addresses that objects do not claim, owners by name alone, labels, the question why, and the cluster."""

import threading
from ipaddress import ip_network

import pytest
from tests.identity.clusters import backend, index, moment, node, ns, pod, service, slice_of

from natlens.health import Health
from natlens.identity.endpoint import UNKNOWN, Endpoint
from natlens.identity.index import Index
from natlens.identity.intervals import BEGIN, END, State
from natlens.identity.objects import EndpointSlice, Metadata, Node, OwnerReference, Service
from natlens.identity.owner import Owner, named_owner, owner_of
from natlens.identity.settings import IdentitySettings


def listed(*nodes: Node, **settings: object) -> Index:
    of = index(None, **settings)
    of.replace(Node, nodes, ns(0))
    of.replace(Service, [], ns(0))
    of.replace(EndpointSlice, [], ns(0))
    return of


def kind(of: Index, address: str) -> str | None:
    return of.endpoint(address, 0, 6, ns(10)).k8s_object_kind


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:db8::1", "10.200.0.1"])
def test_any_other_address_is_external_once_everything_was_listed(address: str) -> None:
    of = listed()
    assert kind(of, address) == "external"
    half = index()
    half.replace(Service, [], ns(0))
    half.replace(EndpointSlice, [], ns(0))
    assert half.endpoint(address, 0, 6, ns(10)) is UNKNOWN
    half.part(own=True).replace(Node, [node("n1", "192.168.0.1")], ns(0))
    assert half.endpoint(address, 0, 6, ns(10)) is UNKNOWN
    half.part(own=False).replace(Node, [], ns(0))
    assert kind(half, address) == "external"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "224.0.0.1", "ff02::1", "0.0.0.0", "::", "255.255.255.255"])  # noqa: S104
def test_addresses_of_nobody_are_nothing(address: str) -> None:
    assert listed().endpoint(address, 0, 6, ns(10)) == UNKNOWN


def test_cluster_cidrs_are_inside_and_labels_name_the_rest_by_the_longest_prefix() -> None:
    of = listed(
        cluster_cidrs=(ip_network("10.200.0.0/16"),),
        cidr_labels=((ip_network("172.16.0.0/12"), "office"), (ip_network("172.16.5.0/24"), "printers")),
    )
    of.put(service("web", "172.16.5.80"), ns(1))
    assert of.endpoint("10.200.0.1", 0, 6, ns(10)) == UNKNOWN
    addresses = ("172.17.0.1", "172.16.5.9", "172.16.5.80", "172.32.0.1")
    assert [kind(of, one) for one in addresses] == ["office", "printers", "service", "external"]


OVN = ["100.64.0.2", "fd98::2", "100.88.0.2", "fd97::2", "169.254.0.3", "fd69::3"]


def test_ovn_kubernetes_internal_ranges_only_where_it_runs() -> None:
    of = listed(node("n1", "192.168.0.1", ovn=True))
    assert {kind(of, one) for one in OVN} == {"ovn_internal"}
    assert [kind(of, "169.254.169.254"), kind(of, "fe80::1")] == ["link_local", "link_local"]
    of.put(node("n1", "192.168.0.1"), ns(5))
    assert "ovn_internal" not in {kind(of, one) for one in OVN}


def test_address_in_a_podcidr_tells_the_node_and_its_zone_only() -> None:
    of = listed(node("n1", "192.168.0.1", cidr="10.1.0.0/24", zone="z1"), node("n2", "192.168.0.2", cidr="10.1.1.0/24"))
    assert of.endpoint("10.1.0.77", 0, 6, ns(10)) == Endpoint(k8s_node_name="n1", cloud_availability_zone="z1")
    assert of.node_of("10.1.1.9", ns(10)) == "n2"
    assert of.pod_networks() == [(ip_network("10.1.0.0/24"), "n1"), (ip_network("10.1.1.0/24"), "n2")]
    of.delete(node("n2", "192.168.0.2", cidr="10.1.1.0/24"), ns(20))
    assert of.node_of("10.1.1.9", ns(10)) is None
    assert of.node_names() == {"n1"}


def test_address_that_was_a_pods_is_not_outside() -> None:
    of = listed()
    of.put(pod("a", "10.1.0.1", begin=10, started=10), ns(12))
    assert of.endpoint("10.1.0.1", 0, 6, ns(5)) == UNKNOWN
    of.bind("10.1.0.2", 7, ns(5))
    assert of.endpoint("10.1.0.2", 0, 6, ns(5)) == UNKNOWN


def test_backend_on_a_node_that_is_not_known_yet_may_be_on_its_network() -> None:
    of = listed(node("n1", "192.168.0.1"))
    of.put(slice_of("web", backend("192.168.0.9", "proxy", node="n9")), ns(5))
    assert of.endpoint("192.168.0.9", 8080, 6, ns(10)).k8s_pod_name == "proxy"
    assert of.endpoint("192.168.0.9", 50000, 6, ns(10)) == UNKNOWN
    assert list(of.ports("192.168.0.9")) == [(8080, 6)]
    of.replace(Node, [node("n1", "192.168.0.1"), node("n9", "192.168.0.9")], ns(6))
    assert of.endpoint("192.168.0.9", 8080, 6, ns(10)).k8s_pod_name == "proxy"
    assert kind(of, "192.168.0.9") == "node"
    of.put(slice_of("web", backend("10.1.9.9", "far", node="n9")), ns(7))
    assert of.endpoint("10.1.9.9", 50000, 6, ns(10)).k8s_pod_name == "far"


def test_agents_are_the_nodes_of_a_services_backends() -> None:
    of = index()
    assert of.agents("shop/natlens") is None
    of.put(slice_of("natlens", name="natlens-a"), ns(0))
    assert of.agents("shop/natlens") == frozenset()
    of.put(slice_of("natlens", backend("10.1.0.1", "a", node="n1"), name="natlens-a"), ns(0))
    of.put(slice_of("natlens", backend("10.1.1.1", "b", node="n2"), name="natlens-b"), ns(0))
    assert of.agents("shop/natlens") == frozenset({"n1", "n2"})
    assert of.agents("other/natlens") is None


@pytest.mark.parametrize(
    ("pod", "deployment"),
    [
        ("web-5d4f8c7b9-abcde", None),  # a has no place in a suffix
        ("web-5d4f8c7b9-bcdfg", "web"),
        ("a-b-5d4f8c7b9-bcdfg", "a-b"),
        ("web-56789456-bcdfg", None),  # a number, as far as one can tell
        ("web-5d4f8c7-bcdfg", None),
        ("web-5d4f8c7b94c-bcdfg", None),
        ("web-fd4f8c7b94-bcdfg", None),  # more than a uint32
        ("web-4d4f8c7b9-bcdfg", None),  # no number begins with 0
        ("web-5d4f8c7b9-bcdf", None),
        ("web-bcdfg", None),
        ("web-0", None),
        ("x" * 47 + "-5d4f8c7b9-bcdfg", None),
        ("x" * 46 + "-5d4f8c7b9-bcdfg", "x" * 46),
    ],
)
def test_deployment_by_the_pods_name_alone(pod: str, deployment: str | None) -> None:
    assert named_owner(pod) == (Owner(deployment, "Deployment", derived=True) if deployment else None)
    of = index()
    of.put(slice_of("web", backend("10.1.0.1", pod)), ns(0))
    assert of.endpoint("10.1.0.1", 0, 6, ns(1)).k8s_owner_name == deployment


@pytest.mark.parametrize(
    ("minutes", "owner"),
    [
        (0, Owner("backup", "CronJob", derived=True)),
        (1, Owner("backup", "CronJob", derived=True)),
        (-120, Owner("backup", "CronJob", derived=True)),
        (2, None),
        (-121, None),
    ],
)
def test_cron_job_by_the_minute_in_its_jobs_name(minutes: int, owner: Owner | None) -> None:
    created = moment(0)
    assert created is not None
    created = type(created)(created // 60_000_000_000 * 60_000_000_000)
    job = f"backup-{created // 60_000_000_000 + minutes}"
    found = owner_of(Metadata("p", owner_references=[OwnerReference("Job", job, True)], creation_timestamp=created))
    assert found == (owner or Owner(job, "Job", derived=None))


def test_selected_labels_and_annotations_are_cut_at_a_characters_border() -> None:
    settings = IdentitySettings(node_name="n1", labels=frozenset({"app", "no"}), annotations=frozenset({"why"}))
    of = Index(Health(), settings)
    one = pod("a", "10.1.0.1", labels={"app": "x", "other": "y"})
    one.metadata.annotations = {"why": "é" * 600}
    of.put(one, ns(1))
    told = service("web", "10.96.0.1")
    told.metadata.labels = {"app": "w"}
    of.put(told, ns(1))
    host = node("n1", "192.168.0.1")
    host.metadata.labels = {"app": "n"}
    of.put(host, ns(1))
    expected = (("k8s.pod.annotation.why", "é" * 512), ("k8s.pod.label.app", "x"))
    assert of.endpoint("10.1.0.1", 0, 6, ns(10)).selected == expected
    assert of.endpoint("10.96.0.1", 0, 6, ns(10)).selected == (("k8s.service.label.app", "w"),)
    assert of.endpoint("192.168.0.1", 0, 6, ns(10)).selected == (("k8s.node.label.app", "n"),)
    of.put(pod("a", "10.1.0.1", labels={"app": "z"}), ns(11))
    assert of.endpoint("10.1.0.1", 0, 6, ns(12)).selected == (("k8s.pod.label.app", "z"),)


def test_explanation_tells_every_fact_its_source_its_time_and_what_came_of_it() -> None:
    of = listed(node("n1", "192.168.0.1", created=-100))
    of.put(service("web", "10.96.0.1", created=-50, node_port=8080), ns(1))
    of.put(slice_of("alias", backend("192.168.0.1")), ns(5))
    found = of.explain("192.168.0.1", 8080, 6, ns(100))
    assert found.endpoint.k8s_service_name == "web"
    told = {(one.subject.name, one.says, one.source.kind, one.source.name, one.outcome) for one in found.known}
    assert told == {
        ("web", "NodePort", "Service", "web", "won"),
        ("n1", "node address", "Node", "n1", "lost"),
        ("alias", "backend without an object", "EndpointSlice", "alias-1", "lost"),
    }
    at = {one.subject.name: one for one in found.known}
    assert (at["web"].ports, at["web"].uid, at["web"].state) == (((8080, 6),), "u-web", State.SURE)
    assert at["n1"].held[:4] == (ns(-100), ns(-99), END, END)
    assert of.explain("192.168.0.1", 22, 6, ns(100)).known[0].outcome == "won"
    of.put(pod("a", "10.1.0.1", started=0), ns(1))
    of.put(pod("b", "10.1.0.1", started=0), ns(1))
    two = of.explain("10.1.0.1", 0, 6, ns(100))
    assert (two.endpoint, two.ambiguous, [one.outcome for one in two.known]) == (UNKNOWN, True, ["ambiguous"] * 2)
    assert [one.outcome for one in of.explain("10.1.0.1", 0, 6, ns(-1)).known] == ["not then"] * 2
    assert of.explain("8.8.8.8", 0, 6, ns(1)).endpoint.k8s_object_kind == "external"


def test_what_was_there_at_the_first_list_always_was() -> None:
    of = index()
    of.replace(EndpointSlice, [slice_of("web", backend("10.1.0.1", "a"))], ns(0))
    assert of.explain("10.1.0.1", 0, 6, ns(0)).known[0].held[:2] == (BEGIN, BEGIN)


def test_service_that_comes_after_its_slices_names_them() -> None:
    of = index()
    of.put(slice_of("web", backend("172.16.0.1", node="")), ns(0))
    assert of.endpoint("172.16.0.1", 8080, 6, ns(1)).k8s_service_uid is None
    of.put(service("web", "None"), ns(2))
    assert of.endpoint("172.16.0.1", 8080, 6, ns(3)).k8s_service_uid == "u-web"
    of.put(slice_of("db", backend("10.1.0.1", "a")), ns(2))
    assert of.endpoint("10.1.0.1", 8080, 6, ns(3)).k8s_service_name is None
    of.put(service("db", "None"), ns(4))
    assert of.endpoint("10.1.0.1", 8080, 6, ns(5)).k8s_service_name == "db"
    assert list(of.ports("10.1.0.1")) == [(8080, 6)]


def test_pods_own_object_after_its_slice_changes_the_answer() -> None:
    of = index()
    of.put(slice_of("web", backend("10.1.0.1", "a"), backend("10.1.0.2", "a")), ns(0))
    assert [of.endpoint(one, 0, 6, ns(9)).k8s_pod_name for one in ("10.1.0.1", "10.1.0.2")] == ["a", "a"]
    of.put(pod("a", "10.1.0.1", started=0), ns(1))
    assert [of.endpoint(one, 0, 6, ns(9)).k8s_pod_name for one in ("10.1.0.1", "10.1.0.2")] == ["a", None]


def test_feeding_and_asking_from_several_threads() -> None:
    of = index()
    slices = [
        slice_of(f"s{n}", backend(f"10.2.{n % 200}.{k}", f"p{n}-{k}"), name=f"s{n}") for n in range(200) for k in (1,)
    ]
    failures: list[BaseException] = []

    def feed(turn: int) -> None:
        try:
            for second in range(5):
                of.replace(EndpointSlice, slices, ns(second))
                for one in slices[turn::4]:
                    of.delete(one, ns(second + 0.5))
                    of.put(one, ns(second + 0.6))
                of.purge(ns(second - 100))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=feed, args=(turn,)) for turn in range(4)]
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads):
        for n in range(200):
            address = f"10.2.{n}.1"
            assert of.endpoint(address, 0, 6, ns(3)).k8s_pod_name in {None, f"p{n}-1"}
            of.borders(address, ns(0), ns(9))
            of.ports(address)
    assert not failures
    of.replace(EndpointSlice, slices, ns(10))
    assert {of.endpoint(f"10.2.{n}.1", 0, 6, ns(11)).k8s_pod_name for n in range(200)} == {
        f"p{n}-1" for n in range(200)
    }
