"""Two senders on one UDP socket at one instant: each CPU makes a conntrack entry of its own (NAT_CLASH).

Run as a script it is one of the senders: threads of one interpreter would take turns.
"""

import os
import socket
import subprocess
import sys
import time

__all__ = ["race"]

APART_NS = 500_000
READY_NS = 150_000_000


def _send(cpu: int, begin_ns: int, descriptors: list[int]) -> None:
    os.sched_setaffinity(0, {cpu})
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for number, one in enumerate(sockets):
        at = begin_ns + number * APART_NS
        while time.monotonic_ns() < at:
            pass
        one.send(b"race")


def race(sockets: list[socket.socket]) -> None:
    """Send one datagram on every (connected) socket from two CPUs at once."""
    descriptors = [one.fileno() for one in sockets]
    begin = time.monotonic_ns() + READY_NS
    senders = [
        subprocess.Popen([sys.executable, __file__, str(cpu), str(begin), *map(str, descriptors)], pass_fds=descriptors)
        for cpu in sorted(os.sched_getaffinity(0))[:2]
    ]
    for sender in senders:
        assert sender.wait() == 0


if __name__ == "__main__":
    _send(int(sys.argv[1]), int(sys.argv[2]), [int(text) for text in sys.argv[3:]])
