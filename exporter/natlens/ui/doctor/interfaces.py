"""Interfaces: which are covered, why not the others, and who else is there."""

from collections.abc import Iterator, Mapping

from natlens.kernel.attach import EGRESS, INGRESS
from natlens.kernel.coverage import Link, Plan, plan
from natlens.kernel.links import read_links
from natlens.kernel.neighbours import Neighbour, chain, clsact_place, ingress_qdiscs, xdp
from natlens.kernel.netlink import route_socket
from natlens.ui.doctor.check import Finding, Findings, passed, warned
from natlens.ui.doctor.machine import Machine
from natlens.ui.doctor.sources import NOT_PRIVILEGED

__all__ = ["look_at_interfaces", "look_at_neighbours"]

INSTEAD = "use a kernel with tcx (6.6 or later), or let the owner of that qdisc use clsact in its place"


def look_at_interfaces(machine: Machine) -> Findings:
    """Tell of each interface what is counted there, and why."""
    with route_socket() as route:
        links, plans = _plans(machine)
        blocked = ingress_qdiscs(route) if machine.attachment == "clsact" else frozenset()
    for index, one in plans.items():
        yield _interface(links[index].name, one, blocked=index in blocked)
    if not any(one.ingress or one.egress for one in plans.values()):
        yield warned("no interface is covered", "check include_interfaces and exclude_interfaces")


def _plans(machine: Machine) -> tuple[Mapping[int, Link], Mapping[int, Plan]]:
    links = {link.index: link for link in read_links()}
    options = machine.options
    return links, plan(links.values(), options.include_interfaces, options.exclude_interfaces)


def _interface(name: str, one: Plan, *, blocked: bool) -> Finding:
    sides = [side for side, program in ((INGRESS, one.ingress), (EGRESS, one.egress)) if program]
    if blocked and one.egress:
        lost = "what the host sends there is not counted, NAT is not learned there"
        left = INGRESS if one.ingress else "nothing"
        return warned(f"{name}: {left}: an `ingress` qdisc stands where clsact would: {lost}", INSTEAD)
    return passed(f"{name}: {', '.join(sides) or 'nothing'}: {one.reason}")


def look_at_neighbours(machine: Machine) -> Findings:
    """Tell whose programs see packets before natlens does: what those take is not counted."""
    alone = True
    with route_socket() as route:
        links, plans = _plans(machine)
        early = xdp(route)
        for index, one in plans.items():
            name = links[index].name
            if index in early and (one.ingress or one.egress):
                alone = False
                yield _xdp(name, early[index])
            for side in (INGRESS, EGRESS):
                if getattr(one, side):
                    try:
                        found = chain(route, index, side)
                    except PermissionError:
                        yield warned("could not look at tcx programs (CAP_NET_ADMIN)", NOT_PRIVILEGED)
                        return
                    alone = alone and not found
                    yield from _side(machine, f"{name} {side}", found)
    if alone:
        yield passed("no programs of others: no tc filters, no tcx, no XDP")


def _xdp(name: str, program: str) -> Finding:
    return warned(
        f"{name} ingress: XDP program {program} comes first: what it drops, redirects or answers is not counted",
        "nothing to do if it lets packets pass; else count where they go",
    )


def _side(machine: Machine, where: str, found: list[Neighbour]) -> Iterator[Finding]:
    if left := [one for one in found if one.left_over]:
        yield warned(f"{where}: {left[0]}: a natlens that was killed left it", "start natlens: it removes it")
    others = [one for one in found if not one.left_over]
    at = next((at for at, one in enumerate(others) if one.ours), None)
    if at is None:
        at = 0 if machine.attachment == "tcx" else clsact_place(others)
        before, after, we = others[:at], others[at:], "natlens would come"
    else:
        before, after, we = others[:at], [one for one in others[at + 1 :] if not one.ours], "natlens comes"
    if before:
        yield warned(
            f"{where}: {we} after {_named(before)}: packets that they take are not counted",
            "attach: tcx and a restart of natlens put it at the head (6.6 and later)",
        )
    elif after:
        yield passed(f"{where}: {we} before {_named(after)}")
    elif at is not None and others:
        yield passed(f"{where}: {we} alone")


def _named(found: list[Neighbour]) -> str:
    return ", ".join(str(one) for one in found)
