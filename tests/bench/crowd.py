"""A crowd: 100,000 UDP connections through a node, a datagram each way of each, half of them to a Service."""

import json
import socket
import struct

from natlens.ui.lab.nat import NftablesNat
from natlens.ui.lab.node import Node, Pod
from natlens.ui.lab.packets import IP, UDP
from natlens.ui.lab.traffic import checksum

__all__ = ["CONNECTIONS", "Crowd"]

CONNECTIONS = 100_000
SERVICE, DNS, DIRECT, BACKEND = "10.96.0.10", 53, 5354, 5353
FIRST_PORT = 10_000
PAYLOAD = bytes(64)
SILENT = "table inet silent { chain input { type filter hook input priority 0; policy drop; }; }"


def _packet(source: str, sport: int, destination: str, dport: int) -> bytes:
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    length = 28 + len(PAYLOAD)
    header = struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0, 64, UDP, 0) + addresses
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return header + struct.pack("!HHHH", sport, dport, length - 20, 0) + PAYLOAD


class Crowd:
    """Sends every datagram once a call; nobody listens and nobody complains."""

    def __init__(self, node: Node) -> None:
        self._client, self._server = node.pod("client"), node.pod("server")
        NftablesNat(node).service(SERVICE, "udp", DNS, [(self._server.ip, BACKEND)])
        for pod in (self._client, self._server):
            pod.namespace.run("nft", "-f", "-", stdin=SILENT)
        self._sockets = {pod.name: _socket(node, pod) for pod in (self._client, self._server)}
        client, server = self._client.ip, self._server.ip
        ports = range(FIRST_PORT, FIRST_PORT + CONNECTIONS // 2)
        self._requests = [_packet(client, port, *to) for port in ports for to in ((SERVICE, DNS), (server, DIRECT))]
        self._answers = [_packet(server, of, client, port) for port in ports for of in (BACKEND, DIRECT)]

    def talk(self) -> None:
        """Send all requests, then all answers."""
        for pod, packets in ((self._client, self._requests), (self._server, self._answers)):
            sender, address = self._sockets[pod.name]
            for packet in packets:
                sender.sendto(packet, address)

    def close(self) -> None:
        """Close the sockets."""
        for sender, _ in self._sockets.values():
            sender.close()


def _socket(node: Node, pod: Pod) -> tuple[socket.socket, tuple[str, int, int, int, bytes]]:
    """Return a socket for IP packets of a pod's own making, and the address of its gateway."""
    with pod.namespace.enter():
        made = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    (link,) = json.loads(node.namespace.run("ip", "-j", "link", "show", "dev", pod.device))
    return made, ("eth0", IP, 0, 0, bytes.fromhex(link["address"].replace(":", "")))
