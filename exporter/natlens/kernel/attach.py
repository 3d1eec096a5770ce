"""Attach programs to interfaces and let them go: tcx links where the kernel has them, else clsact filters.

A tcx link lives as long as its file descriptor: a killed agent leaves nothing. Filters: :mod:`natlens.kernel.filters`.
What option `pin` leaves (pinned links, filters of PINNED_HANDLE) is taken over: in its place, and without a packet in
between.
"""

import errno
import os
from contextlib import suppress
from typing import Protocol

from natlens.errors import KernelError
from natlens.kernel import bpffs, libbpf
from natlens.kernel.filters import EGRESS, GONE, INGRESS, ClsactAttachment, Side, clear_filters
from natlens.kernel.pinning import KINDS, Pins

__all__ = ["EGRESS", "GONE", "INGRESS", "Attachment", "ClsactAttachment", "Side", "TcxAttachment"]


class Attachment(Protocol):
    """One way of attaching programs."""

    name: str

    @property
    def batch(self) -> int:
        """To how many interfaces it attaches within half a second."""
        ...

    def begin(self, pins: Pins) -> None:
        """Find what earlier agents left, before the first :meth:`attach`: to take it over, or to clear it away."""
        ...

    def settle(self) -> None:
        """Let go of what was found and not taken over by any :meth:`attach`."""
        ...

    def expect(self, number: int) -> None:
        """Hear how many interfaces are to be attached to now."""
        ...

    def attach(self, ifindex: int, side: Side, program_fd: int) -> bool:
        """Attach; False where this side of this interface cannot be covered (logged by the caller)."""
        ...

    @property
    def waits(self) -> bool:
        """Whether something was put off."""
        ...

    def catch_up(self) -> None:
        """Do a little of it."""
        ...

    def detach(self, ifindex: int, side: Side) -> None:
        """Let go; an interface that is gone already is fine."""
        ...

    def stands(self, ifindex: int, side: Side) -> bool:
        """Tell whether what was attached still is: an interface may have gone, and another come under its number."""
        ...

    def close(self) -> None:
        """Let go of everything, but for what is pinned."""
        ...


class TcxAttachment:
    """bpf links at the head of the tcx chain (≥ 6.6); they need no qdisc."""

    name = "tcx"
    batch = 32  # each link waits for a grace period of RCU, two or three ticks (tcx_entry_sync)

    def __init__(self) -> None:
        self._links: dict[tuple[int, Side], int] = {}
        self._found: dict[tuple[int, Side], int] = {}
        self._pins: Pins | None = None

    def begin(self, pins: Pins) -> None:
        """Find pinned links; remove filters that nobody owns: agents that attached otherwise may have been killed."""
        self._pins = pins
        clear_filters(pinned=pins.held)
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
        link = self._take_over(ifindex, side, program_fd)
        if link is None:
            link = libbpf.link_tcx(program_fd, ifindex, KINDS[side])
        self._links[ifindex, side] = link
        if self._pins and self._pins.keep:
            self._pins.pin_link(link, ifindex, side)
        elif self._pins:
            self._pins.unpin_link(ifindex, side)
        return True

    def _take_over(self, ifindex: int, side: Side, program_fd: int) -> int | None:
        link = self._found.pop((ifindex, side), None)
        if link is None:
            return None
        try:
            bpffs.update_link(link, program_fd)
        except KernelError:  # its interface went meanwhile
            self._let_go(ifindex, side, link)
            return None
        return link

    def _let_go(self, ifindex: int, side: Side, link: int) -> None:
        if self._pins:
            self._pins.unpin_link(ifindex, side)
        os.close(link)

    def detach(self, ifindex: int, side: Side) -> None:
        """Close the link: the kernel detaches it."""
        link = self._links.pop((ifindex, side), None)  # None: the interface vanished before it was attached to
        if link is not None:
            self._let_go(ifindex, side, link)

    def replace(self, ifindex: int, side: Side, program_fd: int) -> None:
        """Let the link run another program, in its place; an interface that is gone is fine."""
        with suppress(KernelError):
            bpffs.update_link(self._links[ifindex, side], program_fd)

    def stands(self, ifindex: int, side: Side) -> bool:
        """Ask the link where it is attached."""
        link = self._links.get((ifindex, side))
        return link is not None and bpffs.link_place(link) == (ifindex, KINDS[side])

    def close(self) -> None:
        """Close every link: pinned ones stay attached."""
        for fd in (*self._links.values(), *self._found.values()):
            os.close(fd)
        self._links.clear()
        self._found.clear()
