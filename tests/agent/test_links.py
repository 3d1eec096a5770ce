"""Interfaces that come and go while the agent runs."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from natlens.kernel.attach import GONE, INGRESS, TcxAttachment
from natlens.ui.lab.node import Pod
from natlens.ui.lab.packets import TCP, Directed
from natlens.ui.lab.traffic import dial, exchange, talk, udp_socket
from natlens.ui.lab.wire import Wire
from tests.agent.kernel import attached, program
from tests.agent.process import Agent, wait_until
from tests.agent.shop import DNS, SERVICE, Expected, Shop, counted, told

APPEARS_S = 1.0

both = pytest.mark.parametrize("attach", ["tcx", "clsact"])


def covered(shop: Shop, pod: Pod) -> bool:
    return attached(shop.namespace).keys() >= {f"{pod.device} ingress", f"{pod.device} egress"}


@both
def test_interface_that_appears_is_covered_within_a_second(shop: Shop, tmp_path: Path, attach: str) -> None:
    wire = Wire()
    with Agent(shop.namespace, tmp_path / "out", "--interval=60", f"--attach={attach}").started() as agent:
        begin = time.monotonic()
        pod = shop.node.pod(f"late-{attach}")
        wire.tap(pod.name, pod.namespace)
        wait_until(lambda: covered(shop, pod), f"{pod.device} is covered", begin + APPEARS_S - time.monotonic())
        with dial(pod.namespace, (SERVICE, 80)) as client:
            exchange(client, 5000)
            dialled = Directed(pod.ip, client.getsockname()[1], SERVICE, 80, TCP)
        wire.settle()
        agent.stop()
    expected = Expected(pod.name, dialled, {})
    (record,) = (one["attributes"] for one in agent.records() if expected.matches(one))
    wanted = {**counted(wire, expected), "network.interface.name": pod.device}
    wire.close()
    assert {name: record[name] for name in wanted} == wanted


@contextmanager
def datagrams(pod: Pod) -> Iterator[int]:
    """Send as fast as can be, until the end; yields the port that they come from."""
    stop = threading.Event()

    def send(port: int) -> None:
        with udp_socket(pod.namespace, (DNS, 53), port=port) as client:
            while not stop.is_set():
                try:
                    client.send(b"x")
                except OSError:  # no route any more
                    return

    thread = threading.Thread(target=send, args=(4053,))
    thread.start()
    try:
        yield 4053
    finally:
        stop.set()
        thread.join()


@both
def test_interface_that_vanishes_under_traffic_takes_nothing_with_it(shop: Shop, tmp_path: Path, attach: str) -> None:
    pod = shop.node.pod(f"gone-{attach}")
    with Agent(shop.namespace, tmp_path / "out", "--interval=0.5", f"--attach={attach}").started() as agent:
        with datagrams(pod) as port:
            wait_until(lambda: any(told(one["attributes"]).sport == port for one in agent.records()), "its record")
            shop.namespace.run("ip", "link", "del", pod.device)
        seen = len(agent.records())
        late = shop.call()
        wait_until(lambda: len(agent.records()) > seen, "a record after it vanished")
        agent.stop()
    records = [one["attributes"] for one in agent.records()]
    assert late in {told(one).sport for one in records}
    (interface,) = {one["network.interface.name"] for one in records if told(one).sport == port}
    assert interface == pod.device
    assert agent.lines("ERROR") == []


@both
def test_interfaces_that_come_and_go_at_once_stop_nothing(shop: Shop, tmp_path: Path, attach: str) -> None:
    with Agent(shop.namespace, tmp_path / "out", "--interval=60", f"--attach={attach}").started() as agent:
        for number in range(15):
            shop.namespace.ip(f"""
                link add brief{number} type veth peer name other{number}
                link set brief{number} up
                link del brief{number}
            """)
        port = talk(shop.client.namespace, (SERVICE, 80))
        agent.stop()
    assert [told(one["attributes"]).sport for one in agent.records()].count(port) == 1


def test_link_of_an_interface_that_was_gone_before_it_was_attached_to() -> None:
    with program() as fd:
        attachment = TcxAttachment()
        with pytest.raises(OSError, match="No such device") as error:
            attachment.attach(0x7FFFFFFF, INGRESS, fd)
        assert error.value.errno in GONE
        attachment.detach(0x7FFFFFFF, INGRESS)
        attachment.close()
