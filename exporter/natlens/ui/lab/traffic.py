"""Traffic between namespaces: servers that echo, clients that talk to them. IPv4 and IPv6, TCP, UDP and ICMP echo."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Self

from natlens.errors import KernelError
from natlens.ui.lab.namespaces import Namespace

__all__ = ["TcpServer", "UdpServer", "checksum", "dial", "exchange", "ping", "reset", "talk", "udp_socket"]

TIMEOUT_S = 5.0
CHUNK = 1 << 16
ECHO = {4: (8, 0), 6: (128, 129)}  # request and answer


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class _Server:
    """A listening socket and the thread behind it."""

    def __init__(self, namespace: Namespace, kind: socket.SocketKind, port: int, address: str) -> None:
        with namespace.enter():
            self.socket = socket.socket(_family(address), kind)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, port))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Stop serving."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.socket.close()


class TcpServer(_Server):
    """Echoes until the client says FIN, then closes. The default address takes both families."""

    def __init__(self, namespace: Namespace, port: int, address: str = "::") -> None:
        super().__init__(namespace, socket.SOCK_STREAM, port, address)
        self.socket.listen(128)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(client,), daemon=True).start()

    @staticmethod
    def _echo(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while data := client.recv(CHUNK):
                client.sendall(data)


class UdpServer(_Server):
    """Echoes datagrams; with ``answers`` off it only receives."""

    def __init__(self, namespace: Namespace, port: int, address: str = "::", *, answers: bool = True) -> None:
        super().__init__(namespace, socket.SOCK_DGRAM, port, address)
        self._answers = answers
        self._stop = False
        self.received = 0
        self.socket.settimeout(0.05)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stop:
            try:
                data, client = self.socket.recvfrom(CHUNK)
            except TimeoutError:
                continue
            self.received += 1
            if self._answers:
                with contextlib.suppress(OSError):
                    self.socket.sendto(data, client)

    def close(self) -> None:
        """Stop serving."""
        self._stop = True
        super().close()


def dial(namespace: Namespace, to: tuple[str, int], *, port: int = 0) -> socket.socket:
    """Return a TCP connection to ``to``, from ``port`` where one is given."""
    with namespace.enter():
        client = socket.socket(_family(to[0]), socket.SOCK_STREAM)
    client.settimeout(TIMEOUT_S)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if port:
            client.bind(("", port))
        client.connect(to)
    except OSError:
        client.close()
        raise
    return client


def exchange(client: socket.socket, octets: int = 100) -> None:
    """Send ``octets`` and wait until they have come back."""
    client.sendall(b"x" * octets)
    left = octets
    while left:
        got = len(client.recv(min(left, CHUNK)))
        if not got:
            raise KernelError("the server closed the connection too early")
        left -= got


def reset(client: socket.socket) -> None:
    """Close with an RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def talk(namespace: Namespace, to: tuple[str, int], octets: int = 100, *, port: int = 0) -> int:
    """Make one TCP connection from FIN to FIN; returns the client's port."""
    with dial(namespace, to, port=port) as client:
        exchange(client, octets)
        client.shutdown(socket.SHUT_WR)
        client.recv(1)  # the server's FIN
        return int(client.getsockname()[1])


def udp_socket(namespace: Namespace, to: tuple[str, int], *, port: int = 0) -> socket.socket:
    """Return a UDP socket connected to ``to``."""
    with namespace.enter():
        client = socket.socket(_family(to[0]), socket.SOCK_DGRAM)
    client.settimeout(TIMEOUT_S)
    if port:
        client.bind(("", port))
    client.connect(to)
    return client


@contextlib.contextmanager
def _icmp(namespace: Namespace, version: int) -> Iterator[socket.socket]:
    family, protocol = (
        (socket.AF_INET6, socket.IPPROTO_ICMPV6) if version == 6 else (socket.AF_INET, socket.IPPROTO_ICMP)
    )
    with namespace.enter():
        raw = socket.socket(family, socket.SOCK_RAW, protocol)
    with raw:
        raw.settimeout(TIMEOUT_S)
        yield raw


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of an even number of octets."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ping(namespace: Namespace, to: str, identifier: int, *, count: int = 3, octets: int = 56) -> None:
    """Send echo requests with that identifier, each after the answer to the one before."""
    version = 6 if ":" in to else 4
    request, answer = ECHO[version]
    with _icmp(namespace, version) as raw:
        for sequence in range(count):
            head = struct.pack("!BBHHH", request, 0, 0, identifier, sequence)
            body = b"x" * octets
            check = checksum(head + body) if version == 4 else 0  # the kernel fills in ICMPv6's
            raw.sendto(head[:2] + struct.pack("!H", check) + head[4:] + body, (to, 0))
            while True:
                data = raw.recv(CHUNK)
                data = data[(data[0] & 0xF) * 4 :] if version == 4 else data
                if data[0] == answer and struct.unpack_from("!HH", data, 4) == (identifier, sequence):
                    break
