"""conntrack by ctnetlink: connections older than the agent, and those that no packet of theirs explains."""

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np
import numpy.typing as npt

from natlens.errors import KernelError
from natlens.kernel import ctnetlink
from natlens.kernel.structs import TRANSLATION_KEY, TranslationSource
from natlens.kernel.windows import TRANSLATIONS

__all__ = ["ask", "dump"]

NETLINK_NETFILTER = 12
RECEIVE_BYTES = 1 << 16  # the kernel fills at most 32 KiB at once
TIMEOUT_S = 5.0


def dump(now_ns: int, limit: int) -> npt.NDArray[np.void]:
    """Return at most ``limit`` conntrack entries of this network namespace (dtype TRANSLATIONS).

    Untranslated ones too: they tell who initiated. ``now_ns`` (CLOCK_MONOTONIC) becomes their first and last
    sight. Costs some 30 µs an entry. Needs CAP_NET_ADMIN; raises KernelError where there is no ctnetlink.
    """
    with _opened() as conntrack:
        conntrack.send(ctnetlink.dump_request(socket.AF_UNSPEC))
        return _translations(islice(_answers(conntrack), limit), now_ns, TranslationSource.DUMP)


def ask(tuples: npt.NDArray[np.void], now_ns: int) -> npt.NDArray[np.void]:
    """Return the entries (dtype TRANSLATIONS) whose ORIGINAL is one of ``tuples`` (dtype TUPLE).

    Of TCP, UDP, SCTP and ICMP echo. Their source is ctnetlink. A tuple without an entry in zone 0 is left out. Raises
    KernelError where there is no ctnetlink.
    """
    with _opened() as conntrack:
        found = [_get(conntrack, one) for one in tuples]
    return _translations((one for one in found if one is not None), now_ns, TranslationSource.CTNETLINK)


def _get(conntrack: socket.socket, wanted: np.void) -> bytes | None:
    version4 = wanted["family"] == 4
    source, destination = (wanted[side].tobytes()[-4 if version4 else 0 :] for side in ("src", "dst"))
    ports = int(wanted["sport"]), int(wanted["dport"])
    family = socket.AF_INET if version4 else socket.AF_INET6
    conntrack.send(ctnetlink.get_request(family, source, destination, ports, int(wanted["proto"])))
    kind, body = next(ctnetlink.messages(conntrack.recv(RECEIVE_BYTES)), (ctnetlink.ERROR, b""))
    if kind != ctnetlink.ERROR:
        return ctnetlink.key(body)
    _check(body, but=errno.ENOENT)
    return None


def _answers(conntrack: socket.socket) -> Iterator[bytes]:
    """Yield the key of each entry that the kernel tells of, until it is done."""
    while True:
        for kind, body in ctnetlink.messages(conntrack.recv(RECEIVE_BYTES)):
            if kind == ctnetlink.DONE:
                return
            if kind == ctnetlink.ERROR:
                _check(body)
            elif kind == ctnetlink.ENTRY and (key := ctnetlink.key(body)) is not None:
                yield key


def _check(body: bytes, but: int = 0) -> None:
    code = ctnetlink.error_code(body)
    if code not in (0, but):
        raise OSError(code, os.strerror(code))


def _translations(keys: Iterable[bytes], now_ns: int, source: TranslationSource) -> npt.NDArray[np.void]:
    known = np.frombuffer(b"".join(keys), TRANSLATION_KEY)
    found = np.zeros(len(known), TRANSLATIONS)
    found["key"] = known
    found["value"]["first_ns"] = found["value"]["last_ns"] = now_ns
    found["value"]["source"] = source
    return found


@contextmanager
def _opened() -> Iterator[socket.socket]:
    """Yield a ctnetlink socket; what goes wrong with it is a KernelError."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as conntrack:
            conntrack.settimeout(TIMEOUT_S)
            conntrack.bind((0, 0))
            yield conntrack
    except OSError as error:
        raise KernelError(f"ctnetlink does not answer: {error}: is the module nf_conntrack_netlink there?") from error
