"""Two live conntrack entries with one ORIGINAL tuple, and two zones with one tuple each."""

import contextlib
import os

import pytest

from natlens.ui.lab.traffic import UdpServer, udp_socket
from tests.scenarios.addresses import SERVICE
from tests.scenarios.harness import GOES_ON, Flow, Lab, Nat, State
from tests.scenarios.racing import race

SOCKETS, ATTEMPTS = 100, 10


def attempt(lab: Lab, state: State) -> int:
    """Let two CPUs race on many sockets; returns how many of these ended with two entries.

    procfs lists entries by their ORIGINAL, so it does not show the losers; but each backend that a socket's
    datagrams reached stands for one entry.
    """
    client = lab.pod("client")
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(udp_socket(client.namespace, (SERVICE, 53))) for _ in range(SOCKETS)]
        race(sockets)
        lab.wire.settle()
    flows = [
        Flow(
            seen._replace(dst=SERVICE, dport=53),
            seen,
            Nat.DNAT,
            "client",
            name,
            state=state,
            end=GOES_ON,
            tracked=False,
        )
        for name in ("b1", "b2")
        for seen in lab.wire.counts(name)
        if seen.dport == 5353
    ]
    lab.check(*flows)
    return len(flows) - len({flow.original for flow in flows})


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU: nothing races")
@pytest.mark.parametrize("answers", [False, True])
def test_two_threads_of_one_socket_race_to_two_backends(lab: Lab, answers: bool) -> None:
    lab.not_by_events("two entries share the octets of one tuple: ambiguous, and counted so")
    lab.nat.service(SERVICE, "udp", 53, [(lab.pod(name).ip, 5353) for name in ("b1", "b2")])
    with contextlib.ExitStack() as stack:
        for name in ("b1", "b2"):
            stack.enter_context(UdpServer(lab.pod(name).namespace, 5353, answers=answers))
        for _ in range(ATTEMPTS):
            if attempt(lab, State.NEW if answers else State.UNANSWERED):
                return
            lab.clear()
    pytest.skip(f"no race was lost in {ATTEMPTS * SOCKETS} attempts")
