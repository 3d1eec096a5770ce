"""An independent count of the wire: what AF_PACKET sees on interfaces, by directed tuple.

It shares nothing with the programs in ``bpf/``: the demo and the tests hold their figures against it. Octets are those
of the IP packet (no link header, no padding), of every segment where a device hands over several as one.
"""

import mmap
import selectors
import socket
import struct
import threading
import time
from typing import NamedTuple

from natlens.errors import KernelError
from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.packets import Directed, Ports, read_packet

__all__ = ["Count", "Wire"]

SOL_PACKET = 263
PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION, PACKET_VNET_HDR = 5, 6, 10, 15
TPACKET_V2 = 1
TP_STATUS_KERNEL, TP_STATUS_USER = 0, 1
ETH_P_ALL = 3
FRAME, FRAMES, BLOCK = 512, 16384, 1 << 17  # bytes of a packet that are kept, packets that may wait
LOOPBACK, ETHERNET = 772, 1
TAGS = 0x8100, 0x88A8  # 802.1Q, 802.1ad
RING_HEADER = struct.Struct("=IIIHH16x")  # struct tpacket2_hdr: status, length, kept, offset of link and IP header
ADDRESS = struct.Struct("!HHxxxx")  # struct sockaddr_ll begins: family, protocol in network order, interface …
KIND = struct.Struct("=HB")  # … then hardware type and packet type
VNET_HEADER = struct.Struct("=BBHHHH")  # flags, GSO type, header length, GSO size, checksum start and offset
TICK_S = 0.005


class Count(NamedTuple):
    """Octets and packets."""

    octets: int = 0
    packets: int = 0

    def __add__(self, other: "Count") -> "Count":  # type: ignore[override]  # not the tuples' concatenation
        """Return the sum of both."""
        return Count(self.octets + other.octets, self.packets + other.packets)


def _ethernet(data: mmap.mmap, at: int) -> tuple[int, int]:
    """Return the protocol behind an Ethernet header and the tags that follow it, and the octets of them all.

    Read from the packet: where it has two tags, kernels disagree on its protocol and on where its IP header is.
    """
    octets = 14
    protocol = int.from_bytes(data[at + 12 : at + 14], "big")
    while protocol in TAGS:
        protocol = int.from_bytes(data[at + octets + 2 : at + octets + 4], "big")
        octets += 4
    return protocol, octets


class _Tap:
    """One interface.

    A ring, for its packets are copied when they pass. What a plain socket reads is shared with the packet that goes
    on, and NAT and refragmentation were seen to rewrite it before it was read.
    """

    def __init__(self, namespace: Namespace, device: str) -> None:
        with namespace.enter():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
            self.socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
            self.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
            ring = struct.pack("IIII", BLOCK, FRAMES * FRAME // BLOCK, FRAME, FRAMES)
            self.socket.setsockopt(SOL_PACKET, PACKET_RX_RING, ring)
            self._ring = mmap.mmap(self.socket.fileno(), FRAMES * FRAME)
            self.socket.bind((device, ETH_P_ALL))  # nothing is received before
        self.counts: dict[Directed, Count] = {}
        self.largest = 0  # octets handed over as one packet
        self._fragments: Ports = {}
        self._next = 0

    def read_all(self) -> int:
        """Count the packets that wait; returns how many these were."""
        packets = 0
        while self._read():
            packets += 1
        return packets

    def _read(self) -> bool:
        at = self._next * FRAME
        status, length, kept, link, _ = RING_HEADER.unpack_from(self._ring, at)
        if not status & TP_STATUS_USER:
            return False
        _, protocol = ADDRESS.unpack_from(self._ring, at + RING_HEADER.size)
        hardware, kind = KIND.unpack_from(self._ring, at + RING_HEADER.size + ADDRESS.size)
        if not (hardware == LOOPBACK and kind == socket.PACKET_OUTGOING):  # every packet passes lo twice
            skipped = 0
            if hardware in (ETHERNET, LOOPBACK):
                protocol, skipped = _ethernet(self._ring, at + link)
            begin = at + link + skipped
            gso_size = VNET_HEADER.unpack_from(self._ring, at + link - VNET_HEADER.size)[3]
            self._count(protocol, self._ring[begin : at + link + kept], length - skipped, gso_size)
        self._ring[at : at + 4] = TP_STATUS_KERNEL.to_bytes(4, "little")
        self._next = (self._next + 1) % FRAMES
        return True

    def _count(self, protocol: int, data: bytes, length: int, gso_size: int) -> None:
        self.largest = max(self.largest, length)
        found = read_packet(protocol, data, length, gso_size, self._fragments)
        if found:
            directed, octets, packets = found
            self.counts[directed] = self.counts.get(directed, Count()) + Count(octets, packets)

    def close(self) -> None:
        """Give the ring back."""
        self._ring.close()
        self.socket.close()

    def lost(self) -> int:
        """Return how many packets the kernel could not hand over since the last call."""
        _, dropped = struct.unpack("II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        return int(dropped)


class Wire:
    """Counts on any number of interfaces, from :meth:`tap` to :meth:`close`.

    One thread reads them all: several would take turns in the interpreter anyway.
    """

    def __init__(self) -> None:
        self._taps: dict[str, _Tap] = {}
        self._selector = selectors.DefaultSelector()
        self._stop = False
        self._heard = time.monotonic()  # when the last packet was read
        self._empty = 0.0  # when no tap had one waiting
        self._thread = threading.Thread(target=self._read, name="wire", daemon=True)
        self._thread.start()

    def tap(self, name: str, namespace: Namespace, device: str = "eth0") -> None:
        """Count what passes ``device`` from now on, under ``name``."""
        self._taps[name] = tap = _Tap(namespace, device)
        self._selector.register(tap.socket, selectors.EVENT_READ, tap)

    def _read(self) -> None:
        while True:
            stopping = self._stop
            ready = self._selector.select(TICK_S)
            now = time.monotonic()
            if sum(key.data.read_all() for key, _ in ready):
                self._heard = now
                continue
            self._empty = now
            if stopping:
                return
            if ready:  # a device that is gone is always ready, and never has anything
                time.sleep(TICK_S)

    def settle(self, quiet: float = 0.06, timeout: float = 10.0) -> None:
        """Return when nothing has passed for ``quiet`` seconds and everything has been counted."""
        begin = time.monotonic()
        while self._empty - max(self._heard, begin) < quiet:
            if time.monotonic() > begin + timeout:
                raise KernelError(f"the wire does not fall silent within {timeout} s")
            time.sleep(TICK_S)

    def counts(self, name: str) -> dict[Directed, Count]:
        """Return what has passed so far, by directed tuple; see :meth:`settle`."""
        return dict(self._taps[name].counts)

    def largest(self, name: str) -> int:
        """Return the octets of the largest packet that the device handed over as one."""
        return self._taps[name].largest

    def clear(self) -> None:
        """Begin anew with every count at zero; call it when the wire is silent."""
        self.verify()
        for tap in self._taps.values():
            tap.counts.clear()

    def names(self) -> list[str]:
        """Return the names of the taps."""
        return list(self._taps)

    def verify(self) -> None:
        """Raise KernelError if a packet passed that could not be counted."""
        lost = {name: count for name, tap in self._taps.items() if (count := tap.lost())}
        if lost:
            raise KernelError(f"the wire count lost packets: {lost}")

    def close(self) -> None:
        """Count what still waits, then stop; raises as :meth:`verify`."""
        self._stop = True
        self._thread.join()
        try:
            self.verify()
        finally:
            for tap in self._taps.values():
                tap.close()
            self._selector.close()
