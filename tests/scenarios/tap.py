"""A tap device with vnet_hdr, as a virtual machine has one."""

import fcntl
import os
import struct

from natlens.ui.lab.namespaces import Namespace

__all__ = ["NEIGHBOUR", "Tap"]

TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 = 1, 2, 4
NEEDS_CHECKSUM, GSO_TCP4 = 1, 1
NEIGHBOUR = "02:00:00:00:00:02"
ETHERNET, IP4, TCP_CHECKSUM = 14, 0x0800, 16


class Tap:
    """The machine's end; packets are written as its network card would hand them over."""

    def __init__(self, namespace: Namespace, name: str) -> None:
        with namespace.enter():
            self._fd = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(self._fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        fcntl.ioctl(self._fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)
        self._to = bytes.fromhex(_address(namespace, name).replace(":", ""))

    def write(self, packet: bytes, segment: int) -> None:
        """Write an IPv4 TCP packet without options that stands for segments of ``segment`` octets."""
        headers = ETHERNET + 40
        vnet = struct.pack("=BBHHHH", NEEDS_CHECKSUM, GSO_TCP4, headers, segment, ETHERNET + 20, TCP_CHECKSUM)
        link = self._to + bytes.fromhex(NEIGHBOUR.replace(":", "")) + struct.pack("!H", IP4)
        os.write(self._fd, vnet + link + packet)

    def __enter__(self) -> "Tap":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _address(namespace: Namespace, device: str) -> str:
    words = namespace.run("ip", "-o", "link", "show", device).split()
    return words[words.index("link/ether") + 1]
