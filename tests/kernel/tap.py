"""A tap device in a namespace of its own: packets that are not in one piece, as a guest's are."""

import fcntl
import itertools
import os
import socket
from struct import Struct

from natlens.ui.lab.namespaces import Namespace

__all__ = ["PAGED", "Tap", "untagged"]

PAGED = 5000  # octets from which the kernel puts what exceeds the linear part into pages (tun_alloc_skb)
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
VIRTIO_HEADER = Struct("=BBHHHH")  # flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
IFREQ = Struct("=16sH22x")
_numbers = itertools.count()


def untagged(frame: bytes) -> tuple[int, int]:
    """Return protocol and network offset as a program at tc ingress finds them: the outermost tag is taken off."""
    at = 18 if frame[12:14] in (b"\x81\x00", b"\x88\xa8") else 14
    return int.from_bytes(frame[at - 2 : at], "big"), at


class Tap:
    """One tap, up, without addresses."""

    def __enter__(self) -> "Tap":
        """Make it."""
        self.namespace = Namespace(f"nlt{os.getpid()}-{next(_numbers)}")
        with self.namespace.enter():
            self._fd = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(self._fd, TUNSETIFF, IFREQ.pack(b"tap0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
            self.ifindex = socket.if_nametoindex("tap0")
        self.namespace.ip("link set tap0 up arp off")
        return self

    def receive(self, frame: bytes, *, linear: int, gso: tuple[int, int] = (0, 0)) -> None:
        """Let the host receive a frame of which ``linear`` octets are in one piece; ``gso``: virtio type and size."""
        os.write(self._fd, VIRTIO_HEADER.pack(0, gso[0], linear, gso[1], 0, 0) + frame)

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        os.close(self._fd)
        self.namespace.remove()
