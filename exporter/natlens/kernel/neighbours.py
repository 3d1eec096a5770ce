"""Programs of others at the interfaces, and who sees a packet first."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from natlens.kernel import bpf
from natlens.kernel.filters import EGRESS, FILTER_NAME, HANDLES, INGRESS, OURS, PARENT, Side, is_owned
from natlens.kernel.libbpf import BPF_TCX_EGRESS, BPF_TCX_INGRESS
from natlens.kernel.pinning import PINNED_HANDLE

__all__ = ["Neighbour", "chain", "clsact_place", "ingress_qdiscs", "xdp"]

TCX = {INGRESS: BPF_TCX_INGRESS, EGRESS: BPF_TCX_EGRESS}
OWN_PROGRAMS = ("ingress_l2", "ingress_l3", "egress_l2", "egress_l3", "egress_port")
INGRESS_OR_CLSACT = 0xFFFFFFF1  # TC_H_INGRESS, the parent of both qdiscs
BPF_FILTER = "bpf"


class Neighbour(NamedTuple):
    """One program at one side of an interface."""

    by: str
    """``tcx`` or ``tc``."""
    name: str
    ours: bool = False
    priority: int = 0
    """Of a tc filter."""
    shared: bool = True
    """Whether its priority takes a filter of natlens too: it does not beside other kinds or protocols."""
    left_over: bool = False
    """A natlens that is no more left it."""

    def __str__(self) -> str:
        """Return it as a user may find it."""
        return f"{self.by} {self.name}" + (f" (priority {self.priority})" if self.by == "tc" else "")


def chain(route: Any, ifindex: int, side: Side) -> list[Neighbour]:
    """Return who gets packets on one side of an interface, in order: tcx programs, then tc filters.

    ``route`` is a pyroute2 ``IPRoute``. Without CAP_NET_ADMIN tcx programs are left out (:class:`PermissionError`),
    without CAP_SYS_ADMIN they have ids for names.
    """
    return [*_tcx(ifindex, side), *_filters(route, ifindex, side)]


def _tcx(ifindex: int, side: Side) -> Iterator[Neighbour]:
    try:
        numbers = bpf.tcx_chain(ifindex, TCX[side])
    except PermissionError:
        raise
    except OSError:  # no tcx in this kernel, or the interface is gone
        return
    for number in numbers:
        try:
            name = bpf.program(number).name
        except PermissionError:
            yield Neighbour("tcx", f"program {number}")
        except OSError:
            continue
        else:
            yield Neighbour("tcx", name or f"program {number}", ours=name in OWN_PROGRAMS)


def _filters(route: Any, ifindex: int, side: Side) -> Iterator[Neighbour]:
    told = set()
    for found in route.get_filters(index=ifindex, parent=PARENT[side]):
        options, kind, priority = found.get_attr("TCA_OPTIONS"), found.get_attr("TCA_KIND"), found["info"] >> 16
        if options is None or (kind != BPF_FILTER and (kind, priority) in told):  # others have entries for their tables
            continue
        told.add((kind, priority))
        name = (options.get_attr("TCA_BPF_NAME") if kind == BPF_FILTER else "") or kind
        handle = found["handle"]
        ours = kind == BPF_FILTER and name == FILTER_NAME and handle in (PINNED_HANDLE, *HANDLES)
        left_over = ours and handle != PINNED_HANDLE and not is_owned(handle)
        shared = (kind, found["info"] & 0xFFFF) == OURS
        yield Neighbour("tc", str(name), ours and not left_over, priority, shared, left_over)


def clsact_place(found: list[Neighbour]) -> int:
    """Return before how many of a chain natlens' clsact filter would not come, were it added now.

    All of tcx come before any filter; a filter of ours takes the first priority that is free or has bpf filters only.
    """
    tcx = sum(1 for one in found if one.by == "tcx")
    kept = {one.priority for one in found if one.by == "tc" and not one.shared}
    priority = next(number for number in range(1, 1 << 16) if number not in kept)
    return tcx + sum(1 for one in found if one.by == "tc" and one.priority < priority)


def ingress_qdiscs(route: Any) -> frozenset[int]:
    """Return the interfaces where an ``ingress`` qdisc stands where clsact would."""
    found = (one for one in route.get_qdiscs() if one["parent"] == INGRESS_OR_CLSACT)
    return frozenset(one["index"] for one in found if one.get_attr("TCA_KIND") == "ingress")


def xdp(route: Any) -> dict[int, str]:
    """Return ifindex → the name (or id) of the XDP program, which sees packets before anything else."""
    found = {}
    for link in route.get_links():
        number = link.get_nested("IFLA_XDP", "IFLA_XDP_PROG_ID")
        if number:
            try:
                found[link["index"]] = bpf.program(number).name
            except OSError as error:
                found[link["index"]] = f"program {number} ({os.strerror(error.errno or 0)})"
    return found
