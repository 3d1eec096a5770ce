"""Flow tables: after a connection's first packets the kernel forwards past its own stack, NAT included."""

import pytest

from natlens.errors import KernelError
from natlens.ui.lab.traffic import TcpServer, UdpServer, dial, exchange
from tests.scenarios.addresses import SERVICE, say, tcp, udp
from tests.scenarios.conftest import CLSACT, TCX
from tests.scenarios.harness import ANY, Flow, Lab, Nat, Setup

ROUNDS = 5


def offload(lab: Lab, *devices: str) -> None:
    try:
        lab.node.nft(f"""
            add table inet fast
            add flowtable inet fast ft {{ hook ingress priority 0; devices = {{ {", ".join(devices)} }}; counter; }}
            add chain inet fast forward {{ type filter hook forward priority 0; }}
            add rule inet fast forward meta l4proto {{ tcp, udp }} flow add @ft
            add rule inet fast forward counter
        """)
    except KernelError as error:
        pytest.skip(f"this kernel has no flow tables: {str(error).splitlines()[0]}")


def slow(lab: Lab) -> int:
    """Return how many packets took the long way."""
    words = lab.namespace.run("nft", "list", "chain", "inet", "fast", "forward").split()
    return int(words[words.index("packets") + 1])


@pytest.mark.parametrize("masquerade", [False, True], ids=["plain", "masquerade"])
@pytest.mark.parametrize("setup", [TCX, CLSACT], ids=str)
def test_connection_past_the_stack(setup: Setup, masquerade: bool) -> None:
    """Counted where it comes in, before the table takes it; its translation is known over several windows."""
    with Lab(setup) as lab:
        client, backend = lab.pod("client"), lab.pod("b1")
        lab.begin()
        lab.nat.service(SERVICE, "tcp", 80, [(backend.ip, 8080)], masquerade=masquerade)
        lab.nat.service(SERVICE, "udp", 53, [(backend.ip, 53)])
        offload(lab, client.device, backend.device)
        with TcpServer(backend.namespace, 8080), UdpServer(backend.namespace, 53):
            with dial(client.namespace, (SERVICE, 80)) as caller:
                port = caller.getsockname()[1]
                for _ in range(ROUNDS):
                    exchange(caller, 1000)
                before = slow(lab)
                lab.window()
                for _ in range(ROUNDS):
                    exchange(caller, 1000)
                assert slow(lab) - before < ROUNDS, "most of it did not go past the stack"
                (again,) = [one for one in lab.window() if one.original.sport == port]
            asked = say(client.namespace, (SERVICE, 53), ROUNDS)
            seen, seen_udp = tcp(client.ip, port, SERVICE, 80), udp(client.ip, asked, SERVICE, 53)
            assert (again.original, again.translated.dst, again.sequence) == (seen, backend.ip, 1)
            answered = tcp(backend.gateway if masquerade else client.ip, ANY if masquerade else port, backend.ip, 8080)
            lab.check(
                Flow(seen, answered, Nat.DNAT_SNAT if masquerade else Nat.DNAT, "client", "b1"),
                Flow(seen_udp, udp(client.ip, asked, backend.ip, 53), Nat.DNAT, "client", "b1").goes_on(),
            )


def test_agent_that_starts_when_the_connection_has_gone_past_the_stack() -> None:
    """No packet shows it to netfilter any more: conntrack's table tells."""
    with Lab() as lab:
        client, backend = lab.pod("client"), lab.pod("b1")
        lab.nat.service(SERVICE, "tcp", 80, [(backend.ip, 8080)])
        offload(lab, client.device, backend.device)
        with TcpServer(backend.namespace, 8080), dial(client.namespace, (SERVICE, 80)) as caller:
            port = caller.getsockname()[1]
            for _ in range(ROUNDS):
                exchange(caller, 1000)
            before = slow(lab)
            lab.wire.settle()
            lab.wire.clear()
            lab.start()
            for _ in range(ROUNDS):
                exchange(caller, 1000)
            assert slow(lab) - before < ROUNDS, "most of it did not go past the stack"
            seen = tcp(client.ip, port, SERVICE, 80)
            translated = tcp(client.ip, port, backend.ip, 8080)
            lab.check(Flow(seen, translated, Nat.DNAT, "client", "b1", tracked=False).goes_on())
