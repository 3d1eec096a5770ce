"""Nodes, pods and Services of the testbed: real traffic through the rules of a real kube-proxy, in both modes."""

import os
import re
from collections.abc import Iterator

import pytest

from natlens.ui.lab.namespaces import NETNS
from natlens.ui.lab.traffic import TcpServer, talk
from tests.cluster.api import ApiError
from tests.cluster.cluster import Cluster
from tests.cluster.network import Network
from tests.cluster.nodes import ClusterNode
from tests.cluster.pods import ClusterPod
from tests.cluster.services import Port, endpoint, endpoint_slice
from tests.collector.daemon import DaemonError

WEB = 8080


def entry(node: ClusterNode, client: str, port: int, family: str = "ipv4") -> list[str]:
    """Return what conntrack has about a client's port: source and destination, as sent and as expected back."""
    (line,) = node.conntrack("-p", "tcp", "--orig-src", client, "--orig-port-src", str(port), family=family)
    return re.findall(r"(?:src|dst)=(\S+)", line)


@pytest.fixture
def pods(proxied: Cluster) -> Iterator[tuple[ClusterPod, ClusterPod]]:
    """A client on node-a, and a pod on node-b where something listens."""
    client, web = proxied.run_pod("client", "node-a"), proxied.run_pod("web", "node-b", labels={"app": "web"})
    with TcpServer(web.network, WEB):
        yield client, web


def test_a_call_through_the_cluster_ip_ends_at_the_pod(proxied: Cluster, pods: tuple[ClusterPod, ClusterPod]) -> None:
    client, web = pods
    service = proxied.expose("web", [web], Port(80, WEB))
    address, address6 = service["spec"]["clusterIPs"]
    node = proxied.nodes["node-a"]

    ports = talk(client.network, (address, 80)), talk(client.network, (address6, 80))

    assert entry(node, client.ip, ports[0]) == [client.ip, address, web.ip, client.ip]
    assert entry(node, client.ip6, ports[1], "ipv6") == [client.ip6, address6, web.ip6, client.ip6]


def test_the_node_itself_may_call_a_service(proxied: Cluster, pods: tuple[ClusterPod, ClusterPod]) -> None:
    _, web = pods
    address, address6 = proxied.expose("web", [web], Port(80, WEB))["spec"]["clusterIPs"]
    node = proxied.nodes["node-a"]

    ports = talk(node.namespace, (address, 80)), talk(node.namespace, (address6, 80))

    assert entry(node, node.ip, ports[0]) == [node.ip, address, web.ip, node.ip]
    assert entry(node, node.ip6, ports[1], "ipv6") == [node.ip6, address6, web.ip6, node.ip6]


def test_a_node_port_is_open_to_the_outside(proxied: Cluster, pods: tuple[ClusterPod, ClusterPod]) -> None:
    _, web = pods
    service = proxied.expose("web", [web], Port(80, WEB), kind="NodePort")
    node, outside = proxied.nodes["node-a"], proxied.outside
    number = service["spec"]["ports"][0]["nodePort"]

    ports = talk(outside.namespace, (node.ip, number)), talk(outside.namespace, (node.ip6, number))

    assert entry(node, outside.ip, ports[0]) == [outside.ip, node.ip, web.ip, node.ip]
    assert entry(node, outside.ip6, ports[1], "ipv6") == [outside.ip6, node.ip6, web.ip6, node.ip6]


def test_a_withdrawn_service_is_in_no_rules(proxied: Cluster, pods: tuple[ClusterPod, ClusterPod]) -> None:
    client, web = pods
    service = proxied.expose("web", [web], Port(80, WEB))
    proxy, address = proxied.proxies["node-a"], service["spec"]["clusterIP"]
    assert address in proxy.rules()

    proxied.withdraw(service)

    assert address not in proxy.rules()
    talk(client.network, (web.ip, WEB))


def test_what_kube_proxy_does_not_know_is_an_error(proxied: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.cluster.proxy.SYNC_S", 0.2)

    with pytest.raises(DaemonError, match=r"not right about \['10.96.255.254'\]"):
        proxied.await_rules("10.96.255.254")


def test_an_address_is_given_to_the_next_pod_at_once(proxied: Cluster, pods: tuple[ClusterPod, ClusterPod]) -> None:
    client, _ = pods
    first = proxied.run_pod("first", "node-b")
    with TcpServer(first.network, WEB):
        talk(client.network, (first.ip, WEB))
    proxied.delete_pod(first)
    second = proxied.run_pod("second", "node-b", ip=first.ip)

    with TcpServer(second.network, WEB):
        talk(client.network, (first.ip, WEB))
        talk(client.network, (first.ip6, WEB))

    assert (second.ip, second.ip6) == (first.ip, first.ip6)
    assert second.uid != first.uid


def test_a_finished_pod_is_there_without_its_network(cluster: Cluster) -> None:
    job = cluster.run_pod("job", "node-a")
    cluster.finish_pod(job)
    other = cluster.run_pod("other", "node-a", ip=job.ip)

    told, others = (cluster.admin.read(pod.thing)["status"] for pod in (job, other))

    assert (told["phase"], others["phase"]) == ("Succeeded", "Running")
    assert told["podIPs"] == others["podIPs"] == [{"ip": job.ip}, {"ip": job.ip6}]
    assert told["containerStatuses"][0]["state"]["terminated"]["finishedAt"]


def test_a_pod_with_grace_only_begins_to_end(cluster: Cluster) -> None:
    pod = cluster.run_pod("ending", "node-a")

    cluster.delete_pod(pod, grace=30)

    assert cluster.admin.read(pod.thing)["metadata"]["deletionGracePeriodSeconds"] == 30
    with TcpServer(pod.network, WEB):
        talk(cluster.nodes["node-a"].namespace, (pod.ip, WEB))
    cluster.delete_pod(pod)
    with pytest.raises(ApiError):
        cluster.admin.read(pod.thing)


def test_a_pod_of_the_hosts_network_has_the_nodes_addresses(cluster: Cluster) -> None:
    pod = cluster.run_pod("agent", "node-b", host_network=True)
    node = cluster.nodes["node-b"]

    assert cluster.admin.read(pod.thing)["status"]["podIPs"] == [{"ip": node.ip}, {"ip": node.ip6}]
    cluster.delete_pod(pod)
    assert node.namespace.path.exists()


def test_a_service_of_many_kinds_is_accepted(cluster: Cluster) -> None:
    port = Port(80, WEB)
    made = [
        cluster.service("headless", port, cluster_ips=["None"]),
        cluster.service("external", kind="ExternalName", families=(), externalName="example.com"),
        cluster.service("balanced", port, kind="LoadBalancer", externalTrafficPolicy="Local"),
        cluster.service("addressed", port, externalIPs=["198.51.100.77"]),
        cluster.service("two-ports", port, Port(53, 5353, "UDP"), families=["IPv6"]),
    ]
    cluster.admin.create(endpoint_slice("by-hand", "headless", [port], [endpoint("192.0.2.77", ready=False)]))

    assert [one["spec"]["type"] for one in made] == [
        "ClusterIP",
        "ExternalName",
        "LoadBalancer",
        "ClusterIP",
        "ClusterIP",
    ]


def test_nodes_have_more_addresses() -> None:
    with Network() as network:
        node = network.add_node("lone")
        near, near6 = network.second_card(node)
        node.loopback("203.0.113.1")
        with TcpServer(node.namespace, WEB):
            talk(network.outside.namespace, (near, WEB))
            talk(network.outside.namespace, (near6, WEB))
            talk(node.namespace, ("203.0.113.1", WEB))


def test_a_pod_may_hide_behind_its_node() -> None:
    with Network() as network:
        node = network.add_node("lone")
        pod = node.pod("client")
        node.masquerade()
        with TcpServer(network.outside.namespace, WEB):
            port = talk(pod.namespace, (network.outside.ip, WEB))

        assert entry(node, pod.ip, port) == [pod.ip, network.outside.ip, network.outside.ip, node.ip]


def namespaces() -> set[str]:
    """Return this process's, as other tests may run at the same time."""
    return {path.name for path in NETNS.glob(f"nlc{os.getpid()}-*")}


def test_a_network_leaves_nothing_behind_even_when_it_fails() -> None:
    before = namespaces()

    def fail() -> None:
        with Network() as network:
            network.add_node("lone").pod("left")
            assert len(namespaces() - before) == 5
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert namespaces() == before
