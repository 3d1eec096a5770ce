"""Devices on devices. Kernels are built without many of these: what cannot be made here is skipped, and says so."""

import pytest

from natlens.errors import KernelError
from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.traffic import TcpServer, talk
from tests.scenarios.addresses import tcp
from tests.scenarios.conftest import CLSACT, TCX
from tests.scenarios.harness import Flow, Lab, Setup

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


def stack(namespace: Namespace, kind: str, address: str) -> None:
    """Put a device of that kind on eth0."""
    try:
        namespace.ip(STACKS[kind])
    except KernelError as error:
        pytest.skip(f"this kernel makes no {kind} device: {error}")
    namespace.ip(f"link set eth0 up\nlink set top up\naddr add {address}/24 dev top")


@pytest.mark.parametrize("setup", [TCX, CLSACT], ids=str)
@pytest.mark.parametrize("kind", STACKS)
def test_pod_to_outside_over(setup: Setup, kind: str) -> None:
    with Lab(setup) as lab:
        client, outside = lab.pod("client"), lab.node.outside
        stack(lab.namespace, kind, NODE)
        stack(outside.namespace, kind, OUTSIDE)
        outside.namespace.ip(f"route add 10.244.0.0/16 via {NODE}")
        lab.begin()
        with TcpServer(outside.namespace, 443, OUTSIDE):
            port = talk(client.namespace, (OUTSIDE, 443), 2000)
        lab.check(Flow(tcp(client.ip, port, OUTSIDE, 443), dialled="client", answered="outside"))
