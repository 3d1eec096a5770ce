"""Devices on devices. Kernels are built without many of these: what cannot be made here is skipped, and says so."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from natlens.errors import KernelError
from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.traffic import TcpServer, talk
from tests.scenarios.addresses import tcp
from tests.scenarios.harness import Flow, Lab

NODE, OUTSIDE = "198.51.100.1", "198.51.100.2"
STACKS = {
    "vlan": "link add link eth0 name top type vlan id 5",
    "qinq": "link add link eth0 name mid type vlan proto 802.1ad id 4\nlink set mid up\n"
    "link add link mid name top type vlan id 5",
    "macvlan": "link add top link eth0 type macvlan mode bridge",
    "ipvlan": "link add top link eth0 type ipvlan mode l2",
    "bond": "link add top type bond mode active-backup\nlink set eth0 down\nlink set eth0 master top",
    "team": "link add top type team\nlink set eth0 down\nlink set eth0 master top",
}


@contextmanager
def stacked(lab: Lab, kind: str) -> Iterator[None]:
    """Put a device of that kind on eth0 at both ends of the uplink, for as long as that."""
    outside = lab.node.outside.namespace
    try:
        for namespace, address in ((lab.namespace, NODE), (outside, OUTSIDE)):
            stack(namespace, kind, address)
        outside.ip(f"route add 10.244.0.0/16 via {NODE}")
        lab.refresh()
        yield
    finally:
        for namespace in (lab.namespace, outside):
            for device in ("top", "mid"):
                with suppress(KernelError):
                    namespace.ip(f"link del {device}")
        restore(lab)


def stack(namespace: Namespace, kind: str, address: str) -> None:
    try:
        namespace.ip(STACKS[kind])
    except KernelError as error:
        pytest.skip(f"this kernel makes no {kind} device: {error}")
    namespace.ip(f"link set eth0 up\nlink set top up\naddr add {address}/24 dev top")


def restore(lab: Lab) -> None:
    """Give the uplink back what went when it was down."""
    node, outside = lab.node, lab.node.outside
    for namespace, here, there in ((node.namespace, node.ip6, outside.ip6), (outside.namespace, outside.ip6, node.ip6)):
        gateway = node.ip if namespace is outside.namespace else outside.ip
        namespace.ip(f"""
            link set eth0 up
            addr replace {here}/64 dev eth0 nodad
            route replace default via {gateway}
            route replace default via {there}
        """)
    lab.refresh()


@pytest.mark.parametrize("kind", STACKS)
def test_pod_to_outside_over(lab: Lab, kind: str) -> None:
    client, outside = lab.pod("client"), lab.node.outside
    with stacked(lab, kind):
        lab.begin()
        with TcpServer(outside.namespace, 443, OUTSIDE):
            port = talk(client.namespace, (OUTSIDE, 443), 2000)
        lab.check(Flow(tcp(client.ip, port, OUTSIDE, 443), dialled="client", answered="outside"))
