"""The scenarios' own instruments: they must notice what is wrong."""

import contextlib

import pytest

from natlens.errors import KernelError
from natlens.ui.lab import wire
from natlens.ui.lab.traffic import TcpServer, talk, udp_socket
from tests.scenarios.addresses import tcp
from tests.scenarios.conftest import TCX
from tests.scenarios.harness import Count, Directed, Flow, Lab, Wires

pytestmark = pytest.mark.parametrize("lab", [TCX], ids=str, indirect=True)


def call(lab: Lab) -> Directed:
    client, backend = lab.pod("client"), lab.pod("b1")
    with TcpServer(backend.namespace, 8080):
        return tcp(client.ip, talk(client.namespace, (backend.ip, 8080)), backend.ip, 8080)


def test_record_that_nobody_expects_is_noticed(lab: Lab) -> None:
    call(lab)
    with pytest.raises(AssertionError, match="nobody expects"):
        lab.check()


def test_missing_record_is_noticed(lab: Lab) -> None:
    seen = call(lab)
    with pytest.raises(AssertionError, match="0 records"):
        lab.check(
            Flow(seen, dialled="client", answered="b1"), Flow(seen._replace(sport=1), dialled="client", answered="b1")
        )


@pytest.mark.parametrize("tap", ["client", "b1"])
@pytest.mark.parametrize("wrong", [Count(1, 0), Count(0, 1)])
def test_octet_or_packet_too_many_is_noticed(lab: Lab, tap: str, wrong: Count, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = call(lab)
    wires = lab.wires

    def more() -> Wires:
        counts = wires()
        counts[tap][seen] += wrong
        return counts

    monkeypatch.setattr(lab, "wires", more)
    with pytest.raises(AssertionError, match="Differing items"):
        lab.check(Flow(seen, dialled="client", answered="b1"))


def test_packets_that_the_wire_count_misses_are_noticed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    client = lab.pod("client")
    monkeypatch.setattr(wire._Tap, "read_all", lambda _: 0)
    with udp_socket(client.namespace, (client.gateway, 9)) as sender:
        for _ in range(wire.FRAMES + 10):
            with contextlib.suppress(ConnectionRefusedError):  # nobody listens there
                sender.send(b"")
    monkeypatch.undo()
    with pytest.raises(KernelError, match=r"lost packets: \{'client': "):
        lab.wire.verify()
