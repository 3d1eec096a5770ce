"""rtnetlink: which devices there are, and a bell that rings when that changes."""

import errno
import socket

from natlens.kernel.coverage import Link
from natlens.kernel.rtnetlink import DONE, ERROR, NEWLINK, dump_request, gone_links, messages

__all__ = ["Bell", "read_links"]

RTMGRP_LINK = 1
READ = 1 << 18


class Bell:
    """A socket that becomes readable when a device appears, vanishes or changes.

    It only rings, and tells which numbers went: the state is read anew (:func:`read_links`), so that an overflow of the
    socket loses nothing.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._socket.bind((0, RTMGRP_LINK))

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def silence(self) -> set[int] | None:
        """Read everything that made it ring.

        Returns the interfaces (ifindex) that went: another one may have come under the same number. None: some may not
        have been told (overflow).
        """
        gone: set[int] = set()
        complete = True
        while True:
            try:
                data = self._socket.recv(READ)
            except BlockingIOError:
                return gone if complete else None
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                complete = False
                continue
            gone.update(gone_links(data))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def read_links() -> list[Link]:
    """Return the devices of this thread's network namespace; some 50 ms where there are 1,000."""
    found: list[Link] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
        asking.send(dump_request(NEWLINK))
        while True:
            for message in messages(asking.recv(READ)):
                if message.kind in (DONE, ERROR):
                    return found
                if isinstance(message.what, Link):
                    found.append(message.what)
