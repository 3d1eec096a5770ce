"""A running capture, and interfaces that come, change and go (tests/agent does the same to a whole agent)."""

import select
import time

import pytest

from natlens.ui.lab.traffic import TcpServer, talk
from tests.agent.kernel import attached
from tests.scenarios.addresses import tcp
from tests.scenarios.conftest import CLSACT, TCX
from tests.scenarios.harness import Flow, Lab, Setup

either = pytest.mark.parametrize("setup", [TCX, CLSACT], ids=str)


def wait_for_bell(lab: Lab) -> None:
    """Wait as the agent does, then refresh; the bell must ring within a second."""
    assert lab.capture
    ready, _, _ = select.select([lab.capture.bell], [], [], 1.0)
    assert ready, "nothing rang"
    time.sleep(0.02)  # a device that is being made rings more than once
    lab.refresh()


@either
def test_interface_that_appears_counts_from_then(setup: Setup) -> None:
    with Lab(setup) as lab:
        lab.begin()
        late = lab.node.pod("late")
        wait_for_bell(lab)
        assert {f"{late.device} ingress", f"{late.device} egress"} <= attached(lab.namespace).keys()
        lab.wire.tap("late", late.namespace)
        with TcpServer(late.namespace, 8080):
            port = talk(lab.namespace, (late.ip, 8080))
        lab.check(Flow(tcp(late.gateway, port, late.ip, 8080), answered="late"))


@either
def test_interface_that_becomes_a_bridge_port_and_is_none_again(setup: Setup) -> None:
    """What the host sends is counted at the bridge as long as there is one, and never twice."""
    with Lab(setup) as lab:
        pod = lab.pod("client")
        lab.begin()
        ports = []
        with TcpServer(pod.namespace, 8080):
            ports.append(talk(lab.namespace, (pod.ip, 8080), 100))
            lab.namespace.ip(f"""
                link add br0 type bridge forward_delay 0
                addr del {pod.gateway}/24 dev {pod.device}
                addr add {pod.gateway}/24 dev br0
                link set {pod.device} master br0
                link set br0 up
            """)
            lab.node.disable_offloads(lab.namespace, "br0")
            wait_for_bell(lab)
            ports.append(talk(lab.namespace, (pod.ip, 8080), 200))
            lab.namespace.ip(f"link del br0\naddr add {pod.gateway}/24 dev {pod.device}")
            wait_for_bell(lab)
            ports.append(talk(lab.namespace, (pod.ip, 8080), 400))
        lab.check(*(Flow(tcp(pod.gateway, port, pod.ip, 8080), answered="client") for port in ports))
        by = {record.original.sport: record.device for record in lab.last()}
        assert [by[port] for port in ports] == [pod.device, "br0", pod.device]


@either
def test_nothing_is_left_attached(setup: Setup) -> None:
    with Lab(setup) as lab:
        gone = lab.pod("client")
        lab.begin()
        assert len(attached(lab.namespace)) >= 5
        lab.namespace.ip(f"link del {gone.device}")
        wait_for_bell(lab)
        lab.stop()
        assert attached(lab.namespace) == {}
