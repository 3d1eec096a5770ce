"""The part of pyroute2 that natlens uses, rtnetlink, without the rest.

``import pyroute2`` imports every protocol it speaks: 12 MiB that a node agent would carry for life; rtnetlink
is half of it. So its package is stood in for while that is imported, and is itself again afterwards.
asyncio, which it runs on, imports ssl where there is one: 5 MiB for TLS that nobody speaks over netlink.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from natlens.errors import MissingFeature

__all__ = ["leave_openssl_out", "route_socket"]


@cache
def _part(module: str) -> ModuleType:
    if "pyroute2" in sys.modules:
        return import_module(module)
    spec = find_spec("pyroute2")
    if spec is None or spec.submodule_search_locations is None:
        raise MissingFeature("the Python package pyroute2 is not installed: pip install natlens brings it")
    stand_in = ModuleType("pyroute2")
    stand_in.__path__ = list(spec.submodule_search_locations)
    leave_openssl_out()
    with _standing_in("pyroute2", stand_in), _standing_in("ssl", ModuleType("ssl")):  # pyroute2 wants one by name
        return import_module(module)


def leave_openssl_out() -> None:
    """Import what would bring OpenSSL along, without it; call it before anything else imports them.

    Both ask whether it is there: asyncio for TLS, hashlib for faster hashes (natlens makes two, for its resource).
    """
    for module, openssl in (("asyncio", "ssl"), ("hashlib", "_hashlib")):
        with _standing_in(openssl, None):
            import_module(module)


@contextmanager
def _standing_in(name: str, module: ModuleType | None) -> Iterator[None]:
    """Let imports find ``module`` (None: nothing) under ``name``, unless that is imported already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = module  # type: ignore[assignment]  # None is how importlib is told "there is none"
    try:
        yield
    finally:
        del sys.modules[name]


def route_socket() -> Any:  # pyroute2 is untyped
    """Return an rtnetlink socket (pyroute2 ``IPRoute``) of the calling thread's network namespace."""
    return _part("pyroute2.iproute.linux").IPRoute()
