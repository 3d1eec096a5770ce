"""The option ``listen``: where to serve, checked and taken before anything is attached."""

import errno
import ipaddress
import os
import re
import socket
from typing import NamedTuple

from natlens.errors import ConfigError

__all__ = ["Place", "parse_listen", "take"]

EXAMPLE = "write for example :9464, 127.0.0.1:9464 or [::1]:9464"
SHAPE = re.compile(r"(?:\[(?P<six>[^\[\]]*)\]|(?P<host>[^\[\]:]*)):(?P<port>[0-9]{1,5})", re.ASCII)
BACKLOG = 16


class Place(NamedTuple):
    """An address ("" is every one, of both families) and a port."""

    address: str
    port: int


def parse_listen(text: str) -> Place:
    """Return what ``listen`` says; raises ConfigError for anything but an address and a port."""
    found = SHAPE.fullmatch(text.strip())
    if not found:
        raise ConfigError(f"listen={text!r} is not an address and a port: {EXAMPLE}")
    port = int(found["port"])
    if not 0 < port < 65536:
        raise ConfigError(f"listen={text!r}: a port is a number from 1 to 65535: {EXAMPLE}")
    host = found["six"] if found["six"] is not None else found["host"]
    if host == "localhost":
        host = "127.0.0.1"
    try:
        if host or found["six"] is not None:
            address = (ipaddress.IPv6Address if found["six"] is not None else ipaddress.IPv4Address)(host)
            return Place(str(address), port)
    except ValueError as error:
        raise ConfigError(f"listen={text!r}: {host!r} is no address of this host: {EXAMPLE}") from error
    return Place("", port)


def take(place: Place) -> socket.socket:
    """Return a socket that listens there; raises ConfigError that names the port where it cannot."""
    try:
        if place.address:
            family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
            return socket.create_server(tuple(place), family=family, backlog=BACKLOG)
        if socket.has_dualstack_ipv6() and _has_ipv6():
            return socket.create_server(tuple(place), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
        return socket.create_server(tuple(place), backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(f"listen: {_why(place, error)}") from error


def _has_ipv6() -> bool:
    """Tell whether the kernel lets anybody have IPv6 sockets (``ipv6.disable=1`` does not)."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as one:
            one.bind(("::", 0))
    except OSError:
        return False
    return True


def _why(place: Place, error: OSError) -> str:
    where = f"{place.address or 'every address'}, port {place.port}"
    if error.errno == errno.EADDRINUSE:
        return f"port {place.port} is in use by another program ({where}): stop it, or choose another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this host does not have the address {place.address}: name one of its own, or none ({EXAMPLE})"
    if error.errno == errno.EACCES:
        return f"port {place.port} is for the privileged: choose one from 1024 on, or add CAP_NET_BIND_SERVICE"
    return f"{where}: {os.strerror(error.errno or 0)}"
