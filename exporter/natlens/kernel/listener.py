"""Sockets of rtnetlink: one hears what changes, the other asks for what is."""

import errno
import socket
from collections.abc import Iterator

from natlens.kernel.rtnetlink import DONE, ERROR, GROUPS, NEWADDRESS, NEWLINK, NEWROUTE, Message, dump_request, messages

__all__ = ["Listener"]

READ = 1 << 18
QUEUE = 1 << 22
"""Bytes of messages that may wait: a node may change many routes at once."""
SO_RCVBUFFORCE = 33


class Listener:
    """Hears of devices, addresses, routes and nexthop objects of the calling thread's namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, QUEUE)  # most nodes allow 208 KiB otherwise
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE)
        self._socket.bind((0, GROUPS))
        self._asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close both."""
        self._socket.close()
        self._asking.close()

    def everything(self) -> Iterator[Message]:
        """Yield the devices, addresses and routes that there are.

        By a socket of its own: in the answer nothing is lost, however much changes meanwhile.
        """
        for kind in (NEWLINK, NEWADDRESS, NEWROUTE):
            self._asking.send(dump_request(kind))
            done = False
            while not done:
                for message in messages(self._asking.recv(READ)):
                    done |= message.kind in (DONE, ERROR)
                    yield message

    def waiting(self) -> Iterator[Message]:
        """Yield what waits; raises OSError (ENOBUFS) where messages were lost."""
        while True:
            try:
                data = self._socket.recv(READ)
            except BlockingIOError:
                return
            yield from messages(data)

    def silence(self) -> None:
        """Leave unread what waits."""
        while True:
            try:
                self._socket.recv(READ)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
