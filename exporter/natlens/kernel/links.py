"""rtnetlink: which devices there are, and a bell that rings when that changes."""

import errno
import socket
from typing import Any

from natlens.kernel.coverage import Link

__all__ = ["Bell", "list_links"]

RTMGRP_LINK = 1


class Bell:
    """A socket that becomes readable when a device appears, vanishes or changes.

    It only rings: the state is read anew (:func:`list_links`), so an overflow of the socket loses nothing.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._socket.bind((0, RTMGRP_LINK))

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def silence(self) -> None:
        """Read everything that made it ring."""
        while True:
            try:
                self._socket.recv(65536)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # overflow: it rang more often than was heard
                    raise

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _link(message: Any) -> Link:
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        hardware=message["ifi_type"],
        kind=message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "",
        master=message.get_attr("IFLA_MASTER") or 0,
        lower=message.get_attr("IFLA_LINK") or 0,
        lower_elsewhere=message.get_attr("IFLA_LINK_NETNSID") is not None,
    )


def list_links(route: Any) -> list[Link]:
    """Return the devices of the namespace; ``route`` is a pyroute2 ``IPRoute``."""
    return [_link(message) for message in route.get_links()]
