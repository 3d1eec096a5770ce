"""Ways through a node that are not its pods' veths: macvlan, pairs inside the node, redirects, what is left alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from natlens.errors import KernelError
from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.traffic import TcpServer, talk
from tests.scenarios.addresses import SERVICE, tcp
from tests.scenarios.conftest import CLSACT, TCX
from tests.scenarios.harness import Flow, Lab, Nat, Setup

attached = pytest.mark.parametrize("setup", [TCX, CLSACT], ids=str)


@attached
def test_macvlan_pod_with_nat_of_its_own(setup: Setup) -> None:
    """Its packets pass the lower device with a conntrack entry of its own namespace: not the node's business."""
    with Lab(setup) as lab:
        outside, pod = lab.node.outside, lab.node.make_namespace("mac")
        lab.namespace.ip(f"link add mac0 link eth0 type macvlan mode bridge\nlink set mac0 netns {pod.name}")
        pod.ip("addr add 192.0.2.77/24 dev mac0\nlink set mac0 up")
        lab.node.disable_offloads(pod, "mac0")
        lab.wire.tap("mac", pod, "mac0")
        pod.run(
            "nft",
            "-f",
            "-",
            stdin=(
                "add table ip own\nadd chain ip own out { type nat hook output priority -100; }\n"
                f"add rule ip own out ip daddr {SERVICE} tcp dport 80 dnat to {outside.ip}:8080\n"
            ),
        )
        pod.ip(f"route add default via {outside.ip}")
        lab.begin()
        with TcpServer(outside.namespace, 8080):
            port = talk(pod, (SERVICE, 80), 2000)
        seen = tcp("192.0.2.77", port, outside.ip, 8080)
        lab.check(Flow(seen, dialled="mac", answered="outside").untracked())
        assert lab.health.count("kernel_foreign_netns") > 0 or lab.source != "tc"


@attached
def test_pair_inside_the_node(setup: Setup) -> None:
    """Cilium's host pair: what the node sends into one end comes in by the other, and is one packet."""
    with Lab(setup) as lab:
        backend = lab.pod("b1")
        lab.namespace.ip(f"""
            link add here type veth peer name there
            addr add 10.251.0.1/32 dev here
            link set here up
            link set there up
            route add {backend.ip}/32 dev here src 10.251.0.1
            rule add pref 10 iif there lookup 77
            route add {backend.ip}/32 via {backend.ip} dev {backend.device} onlink table 77
        """)
        for device in ("here", "there"):
            lab.node.disable_offloads(lab.namespace, device)
        lab.namespace.ip(f"neigh add {backend.ip} lladdr {mac(lab.namespace, 'there')} dev here")
        lab.namespace.sysctl(ipv4__conf__there__accept_local=1)
        lab.begin()
        with TcpServer(backend.namespace, 8080):
            port = talk(lab.namespace, (backend.ip, 8080), 2000)
        lab.check(Flow(tcp("10.251.0.1", port, backend.ip, 8080), answered="b1", tracked=False))


def mac(namespace: Namespace, device: str) -> str:
    words = namespace.run("ip", "-o", "link", "show", device).split()
    return words[words.index("link/ether") + 1]


@contextmanager
def redirected(lab: Lab, device: str) -> Iterator[None]:
    """Shape what comes in by ``device`` on an ifb, as older set-ups do: an `ingress` qdisc and a redirect."""
    try:
        lab.namespace.ip("link add ifb0 type ifb\nlink set ifb0 up")
        lab.namespace.run("tc", "qdisc", "add", "dev", device, "ingress")
        lab.namespace.run(
            *f"tc filter add dev {device} parent ffff: protocol ip prio 10 u32 match u32 0 0".split(),
            *["action", "mirred", "egress", "redirect", "dev", "ifb0"],
        )
    except KernelError as error:
        pytest.skip(f"this kernel makes no redirect to ifb: {error}")
    yield


@attached
def test_ingress_qdisc_that_redirects_to_ifb(setup: Setup) -> None:
    with Lab(setup) as lab:
        client, backend = lab.pod("client"), lab.pod("b1")
        with redirected(lab, client.device):
            lab.start()
            uncovered = lab.health.count("interfaces_not_covered", interface=client.device, side="egress")
            assert uncovered == (setup.attach == "clsact")
            lab.begin()
            lab.nat.service(SERVICE, "tcp", 80, [(backend.ip, 8080)])
            with TcpServer(backend.namespace, 8080):
                port = talk(client.namespace, (SERVICE, 80), 2000)
            seen = tcp(client.ip, port, SERVICE, 80), tcp(client.ip, port, backend.ip, 8080)
            lab.check(Flow(*seen, Nat.DNAT, "client", "b1"))
            kinds = lab.namespace.run("tc", "qdisc", "show", "dev", client.device)
            assert "ingress" in kinds
            assert "clsact" not in kinds


@attached
def test_excluded_interface(setup: Setup) -> None:
    """What comes in there is counted where it leaves; what goes out there is not counted."""
    with Lab(setup, exclude_interfaces=["veth-hid*"]) as lab:
        hidden, backend = lab.pod("hidden"), lab.pod("b1")
        lab.begin()
        lab.nat.service(SERVICE, "tcp", 80, [(backend.ip, 8080)])
        with TcpServer(backend.namespace, 8080), TcpServer(hidden.namespace, 9090):
            port = talk(hidden.namespace, (SERVICE, 80), 2000)
            talk(lab.namespace, (hidden.ip, 9090), 500)
        seen = tcp(hidden.ip, port, SERVICE, 80), tcp(hidden.ip, port, backend.ip, 8080)
        lab.check(Flow(*seen, Nat.DNAT, answered="b1"), without=["hidden"])
