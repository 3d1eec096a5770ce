"""Attach programs to interfaces and let them go: tcx links where the kernel has them, else clsact filters.

A tcx link lives as long as its file descriptor: a killed agent leaves nothing. A clsact filter outlives its
process, so it carries a handle that a live agent owns by an abstract socket (which the kernel frees with the
process, and which belongs to the same network namespace as the filter): the next start removes filters whose
handle nobody owns. What option `pin` leaves (pinned links, filters of PINNED_HANDLE) is taken over: in its place, and
without a packet in between. A clsact qdisc is never removed and an `ingress` qdisc never replaced: others may use them.
"""

import errno
import itertools
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any, Protocol

from natlens.errors import KernelError
from natlens.kernel import bpffs, libbpf
from natlens.kernel.pinning import PINNED_HANDLE, Pins, claim

__all__ = ["Attachment", "ClsactAttachment", "Side", "TcxAttachment", "choose", "clear_filters", "pinned_filters"]

log = logging.getLogger(__name__)

ETH_P_ALL = 3
INGRESS, EGRESS = "ingress", "egress"
Side = str

OURS = "bpf", socket.htons(ETH_P_ALL)  # what a priority must hold to take one more filter of ours
FILTER_NAME = "natlens"
HANDLES = range(0x6E61, 0x6E61 + 16)  # so many agents may run in one namespace
PARENT = {INGRESS: 0xFFFFFFF2, EGRESS: 0xFFFFFFF3}
GONE = (errno.ENODEV, errno.ENXIO)  # the interface vanished meanwhile


class Attachment(Protocol):
    """One way of attaching programs."""

    name: str

    def begin(self, pins: Pins) -> None:
        """Find what earlier agents left, before the first :meth:`attach`: to take it over, or to clear it away."""
        ...

    def settle(self) -> None:
        """Let go of what was found and not taken over by any :meth:`attach`."""
        ...

    def attach(self, ifindex: int, side: Side, program_fd: int) -> bool:
        """Attach; False where this side of this interface cannot be covered (logged by the caller)."""
        ...

    def detach(self, ifindex: int, side: Side) -> None:
        """Let go; an interface that is gone already is fine."""
        ...

    def close(self) -> None:
        """Let go of everything, but for what is pinned."""
        ...


def _clsact(route: Any) -> list[int]:
    """Return the interfaces (ifindex) that have a clsact qdisc."""
    return [qdisc["index"] for qdisc in route.get_qdiscs() if qdisc.get_attr("TCA_KIND") == "clsact"]


class TcxAttachment:
    """bpf links at the head of the tcx chain (≥ 6.6); they need no qdisc."""

    name = "tcx"

    def __init__(self, route: Any) -> None:
        """``route`` is a pyroute2 ``IPRoute``: agents that attached otherwise may have been killed."""
        self._route = route
        self._links: dict[tuple[int, Side], int] = {}
        self._found: dict[tuple[int, Side], int] = {}
        self._pins: Pins | None = None

    def begin(self, pins: Pins) -> None:
        """Find pinned links; remove filters that nobody owns."""
        self._pins = pins
        for ifindex in _clsact(self._route):
            for side in PARENT:
                _sweep(self._route, ifindex, side, PINNED_HANDLE if pins.held else None)
        self._found = pins.links()

    def settle(self) -> None:
        """Detach the pinned links that were not taken over."""
        for (ifindex, side), link in self._found.items():
            self._let_go(ifindex, side, link)
        self._found.clear()

    @staticmethod
    def supported(program_fd: int) -> bool:
        """Ask the kernel by an interface that cannot exist: ENODEV means that it knows tcx."""
        try:
            os.close(libbpf.link_tcx(program_fd, 0x7FFFFFFF, libbpf.BPF_TCX_INGRESS))
        except OSError as error:
            return error.errno == errno.ENODEV
        return True

    def attach(self, ifindex: int, side: Side, program_fd: int) -> bool:
        """Attach at the head; raises OSError (ENODEV where the interface is gone)."""
        link = self._found.pop((ifindex, side), None)
        if link is not None:
            bpffs.update_link(link, program_fd)
        else:
            kind = libbpf.BPF_TCX_INGRESS if side == INGRESS else libbpf.BPF_TCX_EGRESS
            link = libbpf.link_tcx(program_fd, ifindex, kind)
        self._links[ifindex, side] = link
        if self._pins and self._pins.keep:
            self._pins.pin_link(link, ifindex, side)
        elif self._pins:
            self._pins.unpin_link(ifindex, side)
        return True

    def _let_go(self, ifindex: int, side: Side, link: int) -> None:
        if self._pins:
            self._pins.unpin_link(ifindex, side)
        os.close(link)

    def detach(self, ifindex: int, side: Side) -> None:
        """Close the link: the kernel detaches it."""
        link = self._links.pop((ifindex, side), None)  # None: the interface vanished before it was attached to
        if link is not None:
            self._let_go(ifindex, side, link)

    def close(self) -> None:
        """Close every link: pinned ones stay attached."""
        for fd in (*self._links.values(), *self._found.values()):
            os.close(fd)
        self._links.clear()
        self._found.clear()


def _own_handle() -> tuple[int, socket.socket]:
    for handle in HANDLES:
        if owner := claim(handle):
            return handle, owner
    raise KernelError(f"{len(HANDLES)} natlens agents run in this network namespace already: stop one of them")


def _is_owned(handle: int) -> bool:
    if owner := claim(handle):
        owner.close()
    return owner is None


def _ours(route: Any, ifindex: int, side: Side) -> Iterator[Any]:
    """Yield the filters of natlens agents, whether they run or not."""
    for found in route.get_filters(index=ifindex, parent=PARENT[side]):
        options = found.get_attr("TCA_OPTIONS")
        if found.get_attr("TCA_KIND") != "bpf" or options is None or found["handle"] not in (PINNED_HANDLE, *HANDLES):
            continue
        if options.get_attr("TCA_BPF_NAME") == FILTER_NAME:
            yield found


def _sweep(route: Any, ifindex: int, side: Side, own: int | None = None) -> int:
    """Remove filters of agents that are no more, and of handle ``own``; returns how many these were."""
    removed = 0
    for found in list(_ours(route, ifindex, side)):
        handle = found["handle"]
        if handle == own or (handle != PINNED_HANDLE and not _is_owned(handle)):
            route.tc("del-filter", "bpf", ifindex, handle, parent=PARENT[side], info=found["info"])
            removed += 1
    return removed


def clear_filters(route: Any) -> int:
    """Remove every filter of an agent that runs no more, and those that stayed (own PINNED_HANDLE first)."""
    return sum(_sweep(route, ifindex, side, PINNED_HANDLE) for ifindex in _clsact(route) for side in PARENT)


def pinned_filters(route: Any) -> dict[tuple[int, Side], int]:
    """Return (ifindex, side) → priority of the filters that stay without an agent."""
    return {
        (ifindex, side): found["info"] >> 16
        for ifindex in _clsact(route)
        for side in PARENT
        for found in _ours(route, ifindex, side)
        if found["handle"] == PINNED_HANDLE
    }


def _first_priority(route: Any, ifindex: int, side: Side) -> int:
    """Return the first priority that is free or shared by bpf filters: filters of other kinds or protocols do not."""
    filters = route.get_filters(index=ifindex, parent=PARENT[side])
    taken = {found["info"] >> 16 for found in filters if (found.get_attr("TCA_KIND"), found["info"] & 0xFFFF) != OURS}
    return next(priority for priority in itertools.count(1) if priority not in taken)


class ClsactAttachment:
    """tc filters under clsact, through rtnetlink."""

    name = "clsact"

    def __init__(self, route: Any) -> None:
        """``route`` is a pyroute2 ``IPRoute``."""
        self._route = route
        self._handle = PINNED_HANDLE
        self._owner: socket.socket | None = None
        self._keep = False
        self._attached: dict[tuple[int, Side], int] = {}  # and the priority
        self._found: dict[tuple[int, Side], int] = {}

    def begin(self, pins: Pins) -> None:
        """Find filters that stayed; detach links that did. Raises KernelError where every handle is taken."""
        self._keep = pins.keep
        if not pins.held:
            self._handle, self._owner = _own_handle()
            return
        self._found = pinned_filters(self._route)
        for (ifindex, side), link in pins.links().items():
            pins.unpin_link(ifindex, side)
            os.close(link)

    def settle(self) -> None:
        """Remove the filters that stayed and were not taken over."""
        for (ifindex, side), priority in self._found.items():
            self._remove(ifindex, side, priority)
        self._found.clear()

    def _qdisc(self, ifindex: int) -> str:
        for qdisc in self._route.get_qdiscs(ifindex):
            if qdisc["parent"] == 0xFFFFFFF1:  # TC_H_INGRESS, which is also TC_H_CLSACT
                return str(qdisc.get_attr("TCA_KIND"))
        return ""

    def attach(self, ifindex: int, side: Side, program_fd: int) -> bool:
        """Attach as early as can be; False at egress where an `ingress` qdisc stands in clsact's place.

        There `tc filter add … egress` would succeed and land in the ingress chain.
        """
        if not self._qdisc(ifindex):
            self._route.tc("add", "clsact", ifindex)
        if self._qdisc(ifindex) != "clsact" and side == EGRESS:
            return False
        taken_over = self._found.pop((ifindex, side), None)
        _sweep(self._route, ifindex, side, self._handle if taken_over is None else None)
        priority = taken_over or _first_priority(self._route, ifindex, side)
        self._route.tc(
            "replace-filter" if taken_over else "add-filter",
            "bpf",
            ifindex,
            self._handle,
            fd=program_fd,
            name=FILTER_NAME,
            parent=PARENT[side],
            prio=priority,
            direct_action=True,
        )
        self._attached[ifindex, side] = priority
        if priority > 1:
            log.warning(
                "%s: %s: another program's filters come first (priority %d): packets they take are not counted",
                socket.if_indextoname(ifindex),
                side,
                priority - 1,
            )
        return True

    def detach(self, ifindex: int, side: Side) -> None:
        """Remove the own filter, by its handle."""
        priority = self._attached.pop((ifindex, side), None)
        if priority is not None:
            self._remove(ifindex, side, priority)

    def _remove(self, ifindex: int, side: Side, priority: int) -> None:
        try:
            self._route.tc("del-filter", "bpf", ifindex, self._handle, parent=PARENT[side], prio=priority)
        except Exception as error:  # pyroute2's NetlinkError has no stable import path
            if getattr(error, "code", None) not in (*GONE, errno.ENOENT, errno.EINVAL):
                raise

    def close(self) -> None:
        """Remove every own filter, unless they are to stay; then give the handle back."""
        if not self._keep:
            for ifindex, side in list(self._attached):
                self.detach(ifindex, side)
        if self._owner:
            self._owner.close()


def choose(wanted: str, program_fd: int, route: Any) -> Attachment:
    """Return the attachment for option ``attach``: `auto` takes tcx where the kernel has it.

    Raises KernelError where `tcx` is asked for and the kernel has none.
    """
    if wanted != "clsact" and TcxAttachment.supported(program_fd):
        return TcxAttachment(route)
    if wanted == "tcx":
        raise KernelError("attach: tcx: this kernel has no tcx links (they came with 6.6): use auto or clsact")
    return ClsactAttachment(route)
