"""conntrack's events by ctnetlink: every connection that it begins and ends to track, as it happens.

Only these two: what conntrack knows of a connection's addresses does not change in between (NAT is decided before
an entry is confirmed), and updates would be five messages a connection. A thread reads them, because the time at which
an event is read is the only time it has, and the agent's own thread is busy with a window for a while.
"""

import errno
import os
import select
import socket
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from natlens.errors import KernelError, MissingFeature
from natlens.kernel import conntrack, ctnetlink
from natlens.kernel.structs import TRANSLATION_KEY, TUPLE

__all__ = ["EVENT", "Events", "Told"]

EVENT = np.dtype(
    [
        ("after_ns", np.uint64),
        ("at_ns", np.uint64),
        ("ends", np.uint8),
        ("reserved", np.uint8, (3,)),
        ("key", TRANSLATION_KEY),
    ]
)
"""One event: CLOCK_MONOTONIC when it had not happened yet and when it was read; whether the entry ended (else it
began); which entry."""

GROUPS = 1 << 0 | 1 << 2  # NFNLGRP_CONNTRACK_NEW and _DESTROY
QUEUE = 1 << 23
"""Bytes of messages that may wait: some 10,000 events, of 768 octets of the kernel's memory each."""
SO_RCVBUFFORCE = 33
SWITCH = Path("/proc/sys/net/netfilter/nf_conntrack_events")


class Told(NamedTuple):
    """What was told since the last time: events (dtype EVENT) in order, and how often some were lost."""

    events: npt.NDArray[np.void]
    overruns: int


class Events:
    """Hears of the conntrack entries of the calling thread's network namespace, from now on."""

    def __init__(self, *, translated: bool, queue: int = QUEUE) -> None:
        """Subscribe. With ``translated`` tell of every entry, else only of those without NAT (and not of their end).

        Raises KernelError where there are no events: no ctnetlink, no CAP_NET_ADMIN, or switched off.
        """
        _require()
        self.translated = translated
        self._lock, self._told, self._overruns = threading.Lock(), bytearray(), 0
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, conntrack.NETLINK_NETFILTER
        )
        try:
            _enlarge(self._socket, queue)
            self._socket.bind((0, GROUPS if translated else GROUPS & 1))
        except OSError as error:
            self._socket.close()
            raise KernelError(f"conntrack's events cannot be subscribed to: {error}: give CAP_NET_ADMIN") from error
        self._again = np.zeros(0, EVENT)
        self._quiet = _now()
        self._stop = os.eventfd(0)
        self._thread = threading.Thread(target=self._read, name="conntrack events", daemon=True)
        self._thread.start()

    def take(self) -> Told:
        """Return what was told since the last call."""
        with self._lock:
            told, overruns = self._told, self._overruns
            self._told, self._overruns = bytearray(), 0
        again, self._again = self._again, self._again[:0]
        return Told(np.concatenate([again, np.frombuffer(told, EVENT)]), overruns)

    def tell_again(self, events: npt.NDArray[np.void]) -> None:
        """Let the next call of :meth:`take` return these first."""
        self._again = events

    def close(self) -> None:
        """Stop hearing."""
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        self._socket.close()
        os.close(self._stop)

    def _read(self) -> None:
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        waiting.register(self._stop, select.POLLIN)
        while True:
            if any(fd == self._stop for fd, _ in waiting.poll()):
                return
            self._empty()

    def _empty(self) -> None:
        """Read what waits."""
        while True:
            before = _now()
            try:
                data = self._socket.recv(conntrack.RECEIVE_BYTES)
            except BlockingIOError:
                self._quiet = before
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                with self._lock:
                    self._overruns += 1
                continue
            told = self._events(data, self._quiet + _now())
            with self._lock:
                self._told += told

    def _events(self, data: bytes, when: bytes) -> bytes:
        told = b""
        for kind, body in ctnetlink.messages(data):
            if kind not in (ctnetlink.ENTRY, ctnetlink.DELETED) or (key := ctnetlink.key(body)) is None:
                continue
            if self.translated or not ctnetlink.is_translated(key):
                told += when + (ENDS if kind == ctnetlink.DELETED else BEGINS) + key
        return told


BEGINS, ENDS = bytes(4), b"\1" + bytes(3)


def _now() -> bytes:
    return time.monotonic_ns().to_bytes(8, sys.byteorder)


def _require() -> None:
    conntrack.ask(np.zeros(1, TUPLE), 0)  # raises KernelError where nobody answers
    try:
        switched = SWITCH.read_text().strip()
    except OSError as error:
        raise MissingFeature("conntrack has no events in this kernel (CONFIG_NF_CONNTRACK_EVENTS)") from error
    if switched == "0":
        raise MissingFeature("conntrack's events are switched off: sysctl -w net.netfilter.nf_conntrack_events=2")


def _enlarge(listening: socket.socket, queue: int) -> None:
    try:
        listening.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, queue)
    except PermissionError:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, queue)
