"""Which side of which device: the rules, one by one, and that every packet's path through a node counts it once."""

import pytest

from natlens.kernel.coverage import Link, Plan, plan

ETH0 = Link(2, "eth0")
L2 = ("ingress_l2", "egress_l2", True)
NOTHING = (None, None, True)


def sides(
    *links: Link, include: list[str] | None = None, exclude: list[str] | None = None
) -> dict[str, tuple[object, ...]]:
    plans = plan(links, include or ["*"], exclude or [])
    return {link.name: _sides(plans[link.index]) for link in links}


def _sides(one: Plan) -> tuple[object, ...]:
    assert one.reason
    return one.ingress, one.egress, one.counted


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        (ETH0, L2),
        (Link(2, "v", kind="veth", lower=7, lower_elsewhere=True), L2),
        (Link(2, "vx", kind="vxlan"), L2),
        (Link(2, "tap0", kind="tun"), L2),
        (Link(2, "tun0", kind="tun", hardware=65534), ("ingress_l3", "egress_l3", True)),
        (Link(2, "wg0", kind="wireguard", hardware=65534), ("ingress_l3", "egress_l3", True)),
        (Link(2, "tunl0", kind="ipip", hardware=768), ("ingress_l3", "egress_l3", True)),
        (Link(2, "ppp0", kind="ppp", hardware=512), ("ingress_l3", "egress_l3", True)),
        (Link(1, "lo", hardware=772), (None, "egress_l2", True)),
        (Link(2, "ifb0", kind="ifb"), NOTHING),
        (Link(2, "vrf0", kind="vrf"), NOTHING),
        (Link(2, "br0", kind="bridge"), (None, "egress_l2", True)),
        (Link(2, "bond0", kind="bond"), L2),
        (Link(2, "nlmon0", kind="nlmon", hardware=824), (None, None, False)),
        (Link(2, "ib0", kind="ipoib", hardware=32), (None, None, False)),
    ],
    ids=lambda value: value.name if isinstance(value, Link) else "",
)
def test_device_alone(link: Link, expected: tuple[object, ...]) -> None:
    assert sides(link) == {link.name: expected}


@pytest.mark.parametrize("kind", ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"])
def test_stacked_device_is_seen_at_the_one_below(kind: str) -> None:
    above = Link(3, "above", kind=kind, lower=2)
    assert sides(ETH0, above) == {"eth0": L2, "above": NOTHING}


@pytest.mark.parametrize("kind", ["vlan", "macvlan"])
def test_stacked_device_stands_for_itself_where_the_one_below_is_not_ours(kind: str) -> None:
    assert sides(Link(3, "above", kind=kind, lower=2, lower_elsewhere=True))["above"] == L2
    assert sides(ETH0, Link(3, "above", kind=kind, lower=2), exclude=["eth0"])["above"] == L2


def test_bridge_ports_learn_at_egress_and_the_bridge_counts_what_the_host_sends() -> None:
    bridge, port = Link(3, "br0", kind="bridge"), Link(4, "port", kind="veth", master=3, lower=9, lower_elsewhere=True)
    tunnel = Link(5, "vx", kind="vxlan", master=3)
    at_port = ("ingress_l2", "egress_port", True)
    assert sides(bridge, port, tunnel) == {"br0": (None, "egress_l2", True), "port": at_port, "vx": at_port}


def test_ports_count_for_a_bridge_that_is_excluded() -> None:
    bridge, port = Link(3, "br0", kind="bridge"), Link(4, "port", master=3)
    assert sides(bridge, port, exclude=["br*"]) == {"br0": (None, None, False), "port": L2}


def test_bridge_over_a_vlan_of_a_covered_device() -> None:
    links = (
        ETH0,
        Link(3, "br0", kind="bridge"),
        Link(4, "eth0.5", kind="vlan", lower=2, master=3),
        Link(5, "port", master=3),
    )
    assert sides(*links) == {"eth0": L2, "br0": NOTHING, "eth0.5": NOTHING, "port": L2}


@pytest.mark.parametrize("kind", ["bond", "team"])
def test_members_of_an_aggregate_are_seen_at_it(kind: str) -> None:
    links = Link(2, "agg", kind=kind), Link(3, "a", master=2), Link(4, "b", master=2)
    assert sides(*links) == {"agg": L2, "a": NOTHING, "b": NOTHING}


def test_members_of_a_vrf_or_of_an_unknown_master_are_covered() -> None:
    for kind in ("vrf", "openvswitch"):
        assert sides(Link(2, "master", kind=kind), Link(3, "member", master=2)) == {"master": NOTHING, "member": L2}


@pytest.mark.parametrize("kind", ["veth", "netkit"])
def test_both_ends_of_a_pair_in_the_host_count_only_what_the_host_sends(kind: str) -> None:
    pair = Link(2, "x", kind=kind, lower=3), Link(3, "y", kind=kind, lower=2)
    assert sides(*pair) == {"x": (None, "egress_l2", True), "y": (None, "egress_l2", True)}
    assert sides(*pair, exclude=["y"]) == {"x": L2, "y": (None, None, False)}


def test_a_pairs_end_that_is_a_port_counts_nothing() -> None:
    links = (
        Link(2, "x", kind="veth", lower=3),
        Link(3, "y", kind="veth", lower=2, master=4),
        Link(4, "br0", kind="bridge"),
    )
    assert sides(*links) == {
        "x": (None, "egress_l2", True),
        "y": (None, "egress_port", True),
        "br0": (None, "egress_l2", True),
    }


def test_patterns_choose_and_exclusion_wins() -> None:
    links = Link(2, "eth0"), Link(3, "eth1"), Link(4, "cali12")
    chosen = sides(*links, include=["eth*"], exclude=["eth1"])
    assert chosen == {"eth0": L2, "eth1": (None, None, False), "cali12": (None, None, False)}


# A packet's path: (device, where it passes tc there). None in front: the host made it.
BRIDGED = (ETH0, Link(3, "br0", kind="bridge"), Link(4, "a", master=3), Link(5, "b", master=3))
PAIR = (ETH0, Link(3, "x", kind="veth", lower=4), Link(4, "y", kind="veth", lower=3), Link(5, "pod"))
VLAN = (ETH0, Link(3, "eth0.5", kind="vlan", lower=2), Link(5, "pod"))
BOND = (Link(2, "bond0", kind="bond"), Link(3, "a", master=2), Link(5, "pod"))
PATHS = {
    "pod to pod on a bridge": (BRIDGED, [("a", "ingress"), ("b", "egress")]),
    "pod to the world from a bridge": (BRIDGED, [("a", "ingress"), ("br0", "ingress"), ("eth0", "egress")]),
    "world to a pod on a bridge": (BRIDGED, [("eth0", "ingress"), ("br0", "egress"), ("a", "egress")]),
    "host into a bridge, flooded": (BRIDGED, [(None, ""), ("br0", "egress"), ("a", "egress"), ("b", "egress")]),
    "host through its own pair": (PAIR, [(None, ""), ("x", "egress"), (None, "scrubbed"), ("y", "ingress")]),
    "pod through the host's pair": (
        PAIR,
        [("pod", "ingress"), ("x", "egress"), (None, "scrubbed"), ("y", "ingress"), ("eth0", "egress")],
    ),
    "pod to the world by a VLAN": (VLAN, [("pod", "ingress"), ("eth0.5", "egress"), ("eth0", "egress")]),
    "world to a pod by a VLAN": (VLAN, [("eth0", "ingress"), ("eth0.5", "ingress"), ("pod", "egress")]),
    "host to the world by a VLAN": (VLAN, [(None, ""), ("eth0.5", "egress"), ("eth0", "egress")]),
    "host to the world by a bond": (BOND, [(None, ""), ("bond0", "egress"), ("a", "egress")]),
    "world to a pod by a bond": (BOND, [("a", "ingress"), ("bond0", "ingress"), ("pod", "egress")]),
}


@pytest.mark.parametrize(("links", "path"), PATHS.values(), ids=PATHS)
def test_every_packet_is_counted_once(links: tuple[Link, ...], path: list[tuple[str | None, str]]) -> None:
    """Follow a packet as Linux passes it: skb_iif is the last device it came in by; crossing a pair forgets it."""
    plans = {link.name: one for link in links for one in [plan(links, ["*"], [])[link.index]]}
    came_in_by: str | None = None
    counted = 0
    for device, side in path:
        if device is None:
            came_in_by = None
        elif side == "ingress":
            came_in_by = device
            counted += plans[device].ingress is not None
        else:
            sent_by_host = came_in_by is None or not plans[came_in_by].counted
            counted += sent_by_host and plans[device].egress in ("egress_l2", "egress_l3")
    assert counted == 1
