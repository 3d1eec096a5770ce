"""Traffic on interfaces that appear in a crowd: they move from clsact to tcx meanwhile, and each packet counts once."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.traffic import UdpServer, udp_socket
from tests.agent.kernel import attached
from tests.scenarios.addresses import udp
from tests.scenarios.conftest import TCX
from tests.scenarios.harness import Lab

OTHERS, AT, ROUNDS = 30, 4000, 3


class Sender:
    """Sends datagrams of one octet as fast as can be."""

    def __init__(self, namespace: Namespace, to: str, port: int) -> None:
        self._socket: socket.socket = udp_socket(namespace, (to, AT), port=port)
        self.sent = 0
        self._stop = False
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        while not self._stop:
            self._socket.send(b"x")
            self.sent += 1

    def stop(self) -> None:
        self._stop = True
        self._thread.join()
        self._socket.close()


def moves(lab: Lab) -> bool:
    """Tell whether interfaces wait for their link."""
    assert lab.capture
    return lab.capture.behind


@contextmanager
def crowd(lab: Lab) -> Iterator[None]:
    lab.namespace.ip("\n".join(f"link add c{number} type veth peer name d{number}" for number in range(OTHERS)))
    yield
    lab.namespace.ip("\n".join(f"link del c{number}" for number in range(OTHERS)))


def test_every_packet_counts_once_while_its_interface_moves() -> None:
    with Lab(TCX) as lab:
        lab.begin()
        for number in range(ROUNDS):
            pod = lab.node.pod(f"late{number}")
            with (
                crowd(lab),
                UdpServer(pod.namespace, AT, pod.ip, answers=False),
                UdpServer(lab.namespace, AT, pod.gateway, answers=False),
            ):
                lab.refresh()
                assert "tc " in attached(lab.namespace)[f"{pod.device} ingress"][0]
                assert moves(lab)
                senders = {
                    udp(pod.ip, 5001, pod.gateway, AT): Sender(pod.namespace, pod.gateway, 5001),
                    udp(pod.gateway, 5002, pod.ip, AT): Sender(lab.namespace, pod.ip, 5002),
                }
                while moves(lab):
                    lab.refresh()
                for sender in senders.values():
                    sender.stop()
                lab.window(settle=False)
            counted = {one.original: one.forward_total.packets for one in lab.last()}
            assert {one: counted[one] for one in senders} == {one: sender.sent for one, sender in senders.items()}
            assert min(sender.sent for sender in senders.values()) > 1000
        assert lab.lost() == {}
