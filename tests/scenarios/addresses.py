"""Tuples and small talks that the scenarios are written in."""

from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.packets import ICMP, ICMP6, TCP, UDP, Directed
from natlens.ui.lab.traffic import exchange, udp_socket

__all__ = ["SERVICE", "SERVICE6", "echo", "error", "say", "tcp", "udp"]

SERVICE, SERVICE6 = "10.96.0.10", "fd00:96::10"


def tcp(client: str, port: int, server: str, at: int) -> Directed:
    return Directed(client, port, server, at, TCP)


def udp(client: str, port: int, server: str, at: int) -> Directed:
    return Directed(client, port, server, at, UDP)


def echo(client: str, server: str, identifier: int) -> Directed:
    if ":" in client:
        return Directed(client, identifier, server, 128 << 8, ICMP6)
    return Directed(client, identifier, server, 8 << 8, ICMP)


def error(sender: str, to: str, kind: int, code: int) -> Directed:
    return Directed(sender, 0, to, kind << 8 | code, ICMP6 if ":" in sender else ICMP)


def say(client: Namespace, to: tuple[str, int], times: int = 3, octets: int = 200, *, port: int = 0) -> int:
    """Send datagrams and wait for each one's answer; returns the client's port."""
    with udp_socket(client, to, port=port) as socket:
        for _ in range(times):
            exchange(socket, octets)
        return int(socket.getsockname()[1])
