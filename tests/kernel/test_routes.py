"""Addresses, routes and the interfaces of pods: as the kernel tells them, at the start and as they change."""

import time
from collections.abc import Callable, Iterator

import pytest

from natlens.kernel import listener
from natlens.kernel.routes import Bound, Evidence, Gone, Network, Way
from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.node import Node


@pytest.fixture
def node() -> Iterator[Node]:
    with Node() as made:
        yield made


def network(namespace: Namespace) -> Network:
    with namespace.enter():
        return Network()


@pytest.fixture
def heard(node: Node) -> Iterator[Network]:
    found = network(node.namespace)
    yield found
    found.close()


def host_route(node: Node, name: str, address: str, device: str = "") -> str:
    """Give a pod an address by a route of its own, as CNI plugins without a bridge do; returns the device."""
    device = device or f"cali{name}"
    peer = node.make_namespace(name)
    node.namespace.ip(f"""
        link add {device} type veth peer name eth0 netns {peer.name}
        link set {device} up
        route add {address}/{128 if ":" in address else 32} dev {device}
    """)
    peer.ip("link set eth0 up")
    return device


def ifindex(node: Node, device: str) -> int:
    return int(node.namespace.run("ip", "-o", "link", "show", device).split(":")[0])


def until(heard: Network, holds: Callable[[list[Evidence]], bool]) -> list[Evidence]:
    found: list[Evidence] = []
    deadline = time.monotonic() + 5
    while not holds(found):
        assert time.monotonic() < deadline, found
        found += heard.refresh()
        time.sleep(0.005)
    return found


def test_own_addresses_are_those_of_every_device(node: Node, heard: Network) -> None:
    assert all(heard.is_local(address) for address in (node.ip, node.ip6, "127.0.0.1", "::1"))
    assert not heard.is_local(node.outside.ip)
    node.namespace.ip("link add tunnel type veth\naddr add 10.244.1.0/32 dev tunnel")
    until(heard, lambda _: heard.is_local("10.244.1.0"))
    node.namespace.ip("addr del 10.244.1.0/32 dev tunnel")
    until(heard, lambda _: not heard.is_local("10.244.1.0"))


def test_the_way_is_the_longest_prefix_then_the_least_metric(node: Node, heard: Network) -> None:
    eth0 = ifindex(node, "eth0")
    pod = node.pod("a")
    until(heard, lambda _: heard.way(pod.ip) == Way(ifindex(node, pod.device), None, 24))
    assert heard.way("203.0.113.1") == Way(eth0, node.outside.ip, 0)
    assert heard.way("2001:db8:5::1") == Way(eth0, node.outside.ip6, 0)
    node.namespace.ip(
        "route add 203.0.113.0/24 via 192.0.2.3 metric 20\nroute add 203.0.113.0/24 via 192.0.2.4 metric 10"
    )
    until(heard, lambda _: heard.way("203.0.113.1") == Way(eth0, "192.0.2.4", 24))
    node.namespace.ip("route del 203.0.113.0/24 via 192.0.2.4 metric 10")
    until(heard, lambda _: heard.way("203.0.113.1") == Way(eth0, "192.0.2.3", 24))
    node.namespace.ip("route add blackhole 203.0.113.1/32")
    until(heard, lambda _: heard.way("203.0.113.1") is None)


@pytest.mark.parametrize("address", ["10.244.7.2", "fd00:244:7::2"])
def test_a_pods_interface_is_told_of_when_it_comes_and_when_it_goes(node: Node, heard: Network, address: str) -> None:
    begin = time.time_ns()
    device = host_route(node, "a", address)
    index = ifindex(node, device)
    found = until(heard, lambda found: any(isinstance(one, Bound) for one in found))
    bound = next(one for one in found if isinstance(one, Bound))
    assert (bound.address, bound.ifindex) == (address, index)
    assert begin < bound.at_ns < time.time_ns()
    assert heard.pod_devices() == {index}
    before = network(node.namespace)
    assert [(one.address, one.ifindex) for one in before.bound() if isinstance(one, Bound)] == [(address, index)]
    before.close()
    node.namespace.ip(f"link del {device}")
    found = until(heard, lambda found: any(isinstance(one, Gone) for one in found))
    assert [one.ifindex for one in found if isinstance(one, Gone)] == [index]
    assert heard.pod_devices() == frozenset()
    assert heard.bound() == []


def test_an_interface_that_is_down_has_lost_its_pod(node: Node, heard: Network) -> None:
    index = ifindex(node, host_route(node, "a", "10.244.7.2", "calia"))
    node.namespace.ip("link set calia down")
    assert Gone in {type(one) for one in until(heard, lambda found: any(isinstance(one, Gone) for one in found))}
    assert (heard.way("10.244.7.2") or Way(0, None, 0)).ifindex != index


def test_the_uplink_is_no_pods(node: Node, heard: Network) -> None:
    node.namespace.ip("route add 203.0.113.9/32 via 192.0.2.2\nroute add 192.0.2.9/32 dev eth0")  # a veth, as in kind
    until(heard, lambda _: heard.way("192.0.2.9") == Way(ifindex(node, "eth0"), None, 32))
    assert heard.uplinks() == {ifindex(node, "eth0")}
    assert heard.bound() == []
    assert heard.pod_devices() == frozenset()


def test_ports_of_a_bridge_of_pods_are_pods(node: Node, heard: Network) -> None:
    for name in ("port1", "port2"):
        peer = node.make_namespace(name)
        node.namespace.ip(f"link add {name} type veth peer name eth0 netns {peer.name}")
    node.namespace.ip("link add cni0 type bridge\nlink set port1 master cni0\nlink set port2 master cni0")
    ports = {ifindex(node, "port1"), ifindex(node, "port2")}
    until(heard, lambda _: heard.pod_devices() == ports)
    node.namespace.ip("link add own1 type veth peer name own2\nlink set own1 master cni0")
    until(heard, lambda _: heard.pod_devices() == frozenset())


def test_tunnels_are_told_by_what_they_are(node: Node, heard: Network) -> None:
    node.namespace.ip("link add overlay type vxlan id 7 dstport 4789 local 192.0.2.1")
    index = ifindex(node, "overlay")
    until(heard, lambda _: heard.is_tunnel(index))
    assert not any(heard.is_tunnel(ifindex(node, device)) for device in ("eth0", "lo"))


def test_what_was_missed_is_read_anew(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "QUEUE", 1)
    heard = network(node.namespace)
    device = host_route(node, "a", "10.244.7.2")
    node.namespace.ip("\n".join(f"addr add 198.51.100.{last}/32 dev eth0" for last in range(1, 200)))
    found = heard.refresh()
    assert heard.missed
    assert heard.is_local("198.51.100.199")
    assert [(one.address, one.ifindex) for one in found if isinstance(one, Bound)] == [
        ("10.244.7.2", ifindex(node, device))
    ]
    heard.close()


def test_what_waited_when_messages_were_lost_is_not_believed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "QUEUE", 1)
    heard = network(node.namespace)
    addresses = [f"198.51.100.{last}" for last in range(1, 200)]
    for what in ("add", "del"):
        node.namespace.ip("\n".join(f"addr {what} {address}/32 dev eth0" for address in addresses))
    heard.refresh()
    assert heard.missed
    heard.refresh()  # of what waited before that, nothing comes after it
    assert heard.is_local(node.ip)
    assert not any(map(heard.is_local, addresses))
    heard.close()


def test_a_route_goes_with_its_nexthop_object(node: Node, heard: Network) -> None:
    eth0 = ifindex(node, "eth0")
    node.namespace.ip("nexthop add id 7 via 192.0.2.9 dev eth0\nroute add 203.0.113.0/24 nhid 7")
    until(heard, lambda _: heard.way("203.0.113.1") == Way(eth0, "192.0.2.9", 24))
    node.namespace.ip("nexthop del id 7")
    until(heard, lambda _: heard.way("203.0.113.1") == Way(eth0, node.outside.ip, 0))


def test_table_main_goes_before_those_that_rules_name(node: Node, heard: Network) -> None:
    eth0 = ifindex(node, "eth0")
    node.namespace.ip("""
        route add default via 192.0.2.2 metric 100
        route del default via 192.0.2.2 metric 0
        route add default via 192.0.2.3 table 51820
        route add 203.0.113.0/24 via 192.0.2.4 table 51820
    """)
    until(heard, lambda _: heard.way("203.0.113.1") == Way(eth0, "192.0.2.4", 24))
    assert heard.way("8.8.8.8") == Way(eth0, "192.0.2.2", 0)


def test_link_local_addresses_are_behind_no_device(node: Node, heard: Network) -> None:
    host_route(node, "a", "10.244.7.2")
    until(heard, lambda _: bool(heard.pod_devices()))
    assert heard.way("fe80::9") is None


def test_an_address_on_two_devices_goes_with_the_last(node: Node, heard: Network) -> None:
    node.namespace.ip("addr add 198.51.100.1/24 brd 198.51.100.255 dev eth0\naddr add 198.51.100.1/24 dev lo")
    until(heard, lambda _: heard.is_broadcast("198.51.100.255"))
    node.namespace.ip("addr del 198.51.100.1/24 dev eth0")
    until(heard, lambda _: not heard.is_broadcast("198.51.100.255"))
    assert heard.is_local("198.51.100.1")
