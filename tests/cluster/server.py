"""A program of the cluster as a process in a network namespace, and connections into that namespace."""

import http.client
import socket
import ssl
from pathlib import Path

from natlens.ui.lab.namespaces import Namespace
from tests.collector.daemon import Daemon
from tests.collector.records import LogRecord

__all__ = ["Server", "connect"]

TIMEOUT_S = 30.0


class Server(Daemon):
    """A program that can be stopped, killed and started again."""

    def __init__(self, namespace: Namespace, directory: Path, host: str, *ports: int) -> None:
        super().__init__(directory, host, ports)
        self.namespace = namespace

    def command(self) -> list[str]:
        """Return what begins a life of it."""
        raise NotImplementedError

    def _prepare(self) -> list[str]:
        return ["nsenter", f"--net={self.namespace.path}", *self.command()]

    def records(self) -> list[LogRecord]:
        """Return nothing: no telemetry is sent to it."""
        return []

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()


def connect(
    namespace: Namespace, host: str, port: int, tls: ssl.SSLContext | None = None
) -> http.client.HTTPConnection:
    """Return a connection from within a namespace."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    connection.auto_open = 0  # it would be opened from this process's namespace
    with namespace.enter():
        plain = socket.create_connection((host, port), TIMEOUT_S)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sock = tls.wrap_socket(plain, server_hostname=host) if tls else plain
    except BaseException:
        plain.close()
        raise
    return connection
