"""Loopback ports for the servers that tests start, and who listens on them."""

import random
import socket
from pathlib import Path

__all__ = ["free_port", "listens"]

# Below the ports that Linux gives to clients (32768 and up): a client that keeps calling a closed port of that range on
# the same host will one day be given that very port and connect to itself. And below Kubernetes' NodePorts.
PORTS = range(14000, 20000)


def free_port(host: str = "", *, other_than: int | None = None) -> int:
    """Return a port that nobody listens on (most servers do not tell which one port 0 gave them)."""
    for port in random.sample(PORTS, len(PORTS)):
        if port == other_than:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port from {PORTS.start} to {PORTS.stop - 1} on {host or 'any address'}")


def listens(pid: int, port: int) -> bool:
    """Tell whether this very process listens on the port, in whatever network namespace it is.

    From ``/proc``, because a connection made to find out would be one more flow for the test to see.
    """
    proc = Path("/proc", str(pid))
    try:
        sockets = {str(descriptor.readlink()) for descriptor in (proc / "fd").iterdir()}
        rows = [row.split() for table in ("tcp", "tcp6") for row in (proc / "net" / table).read_text().splitlines()[1:]]
    except OSError:  # it left, or closed a descriptor meanwhile: the next look, or its exit status, will tell
        return False
    return any(
        row[1].endswith(f":{port:04X}") and row[3] == "0A" and f"socket:[{row[9]}]" in sockets  # 0A is LISTEN
        for row in rows
    )
