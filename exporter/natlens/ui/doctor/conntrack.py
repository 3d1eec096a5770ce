"""conntrack: whether it is there, how full it is, which zones are in use."""

from collections import Counter

import numpy as np

from natlens.errors import KernelError
from natlens.kernel.conntrack import dump
from natlens.ui.doctor.check import Findings, failed, passed, warned
from natlens.ui.doctor.machine import Machine
from natlens.ui.doctor.sources import CTNETLINK, NOT_PRIVILEGED

__all__ = ["look_at_conntrack", "look_at_zones"]

PLACE = "/proc/sys/net/netfilter/nf_conntrack_"
NEARLY_FULL = 0.8
MOST_ENTRIES = 20_000


def look_at_conntrack(machine: Machine) -> Findings:
    """Tell how many connections the kernel tracks of how many it can."""
    count, most = machine.number(PLACE + "count"), machine.number(PLACE + "max")
    if count is None or most is None:
        yield warned(
            "nf_conntrack is not loaded: nothing is translated by netfilter here",
            "normal without kube-proxy or NAT rules; else modprobe nf_conntrack",
        )
        return
    told = f"{count} of {most} entries"
    if most and count >= most:
        yield failed(f"{told}: full, the kernel drops new connections", _raise(most))
    elif most and count >= NEARLY_FULL * most:
        yield warned(f"{told}: nearly full, then the kernel drops new connections", _raise(most))
    else:
        yield passed(told)
    acct = machine.number(PLACE + "acct")
    yield passed(f"accounting is {'on' if acct else 'off'}, which natlens does not need: it counts by itself")


def _raise(most: int) -> str:
    return f"sysctl -w net.netfilter.nf_conntrack_max={2 * most} (kube-proxy: conntrack.maxPerCore)"


def look_at_zones(machine: Machine) -> Findings:
    """Tell which zones there are: the same addresses may be in use in each."""
    if not machine.path(PLACE + "count").exists():
        yield passed("none: nf_conntrack is not loaded")
        return
    if not (machine.has_module(CTNETLINK) or (machine.features is not None and machine.features.ctnetlink)):
        yield passed(f"not told: {CTNETLINK} is not loaded")
        return
    try:
        zones = dump(0, MOST_ENTRIES)["key"]["zone"]
    except KernelError as error:
        yield warned(f"could not look: {error}", NOT_PRIVILEGED)
        return
    counts = Counter(
        {int(zone): int(number) for zone, number in zip(*np.unique(zones, return_counts=True), strict=True)}
    )
    told = ", ".join(f"zone {zone}: {number}" for zone, number in sorted(counts.items())) or "no entries"
    if len(zones) == MOST_ENTRIES:
        told += f" (of the first {MOST_ENTRIES})"
    if counts.keys() - {0} and not machine.source:
        lost = "entries in other zones than 0 cannot be looked up, so their NAT is not known"
        yield warned(f"{told}: {lost}", "boot without lockdown=confidentiality: packets then tell")
    else:
        yield passed(told)
