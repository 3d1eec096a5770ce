"""Where translations come from, and how programs are attached: each tried, none used."""

from contextlib import closing

import msgspec

from natlens.config import Options
from natlens.errors import KernelError
from natlens.kernel import trial
from natlens.kernel.conntrack import dump
from natlens.kernel.programs import load
from natlens.kernel.trial import Trial
from natlens.ui.doctor.check import Finding, Findings, failed, passed, warned
from natlens.ui.doctor.machine import Machine

__all__ = [
    "look_at_attachment",
    "look_at_clock_source",
    "look_at_ctnetlink",
    "look_at_fentry",
    "look_at_kprobe",
    "look_at_lookup",
    "look_at_programs",
    "look_at_reading",
]

NOT_PRIVILEGED = "run natlens doctor with the capabilities of natlens run"
CTNETLINK = "nf_conntrack_netlink"


def look_at_programs(machine: Machine) -> Findings:
    """Load the programs as `natlens run` does; nothing is attached, nothing is pinned."""
    if machine.capabilities.missing():
        yield warned("not tried: capabilities are missing", NOT_PRIVILEGED)
        return
    try:
        with closing(load(unpinned(machine.options))):
            yield passed("this kernel takes them")
    except KernelError as error:
        yield failed(str(error), "see btf, lockdown, seccomp and libbpf above; report it if they are well")


def unpinned(options: Options) -> Options:
    """Return the options without pinning: a look leaves nothing behind."""
    return msgspec.structs.replace(options, pin=False)


def look_at_attachment(machine: Machine) -> Findings:
    """Tell whether by tcx links or by clsact filters."""
    tried = trial.try_tcx()
    if machine.options.attach == "tcx" and not tried.works:
        yield failed(f"attach is tcx: {tried.why}", "set attach to auto")
    elif tried.refused:
        yield warned(f"{machine.attachment}, as far as can be told: {tried.why}", NOT_PRIVILEGED)
    elif machine.attachment == "tcx":
        yield passed("tcx links, at the head")
    else:
        why = "attach is clsact" if tried.works else tried.why
        yield passed(f"clsact filters ({why})")


def look_at_reading(machine: Machine) -> Findings:
    """Tell whether a tc program may read its packet's conntrack entry."""
    yield _source(machine, "tc", "read from the packet where it leaves")


def look_at_fentry(machine: Machine) -> Findings:
    """Tell whether a program may be put at the entry of the function that translates."""
    yield _source(machine, "fentry", f"a program at {trial.HOOKED} loads")


def look_at_kprobe(machine: Machine) -> Findings:
    """Tell whether a kprobe may be put there."""
    multi = ", kprobe.multi too" if machine.sources["kprobe"].works and trial.try_multi().works else ""
    yield _source(machine, "kprobe", f"kprobes are allowed{multi}")


def _source(machine: Machine, name: str, found: str) -> Finding:
    tried, wanted, best = machine.sources[name], machine.options.nat_source, machine.source
    if tried.works:
        return passed(found)
    if wanted == name:
        return failed(f"nat_source is {name}: {tried.why}", f"set nat_source to {best or 'auto'}")
    if tried.refused and machine.capabilities.missing():
        return warned(f"could not look: {tried.why}", NOT_PRIVILEGED)
    if best:
        return passed(f"not to be had ({tried.why}); not needed: {best} is")
    return warned(f"{tried.why}: NAT is not learned as packets pass, at best from conntrack's events", _rest(name))


def _rest(name: str) -> str:
    ways = {
        "tc": "boot without lockdown=confidentiality",
        "fentry": "give CAP_SYS_ADMIN where nf_nat is a module, or load nf_nat (a kube-proxy does)",
        "kprobe": "kernel.perf_event_paranoid of 2 or less, a kernel with kprobes, nf_nat loaded",
    }
    return ways[name]


def look_at_lookup(machine: Machine) -> Findings:
    """Tell whether a tc program may ask conntrack for a tuple."""
    tried = trial.try_lookup()
    if tried.works:
        yield passed("conntrack is asked as packets come in (bpf_skb_ct_lookup)")
    else:
        yield _complement(machine, tried, "what never leaves by a covered interface shows its NAT by ctnetlink only")


def _complement(machine: Machine, tried: Trial, lost: str) -> Finding:
    if tried.refused and machine.capabilities.missing():
        return warned(f"could not look: {tried.why}", NOT_PRIVILEGED)
    if machine.source:
        return passed(f"not to be had ({tried.why}): {lost}")
    return warned(f"{tried.why}: {lost}", "5.18 or later has it; where nf_conntrack is a module it takes CAP_SYS_ADMIN")


def look_at_ctnetlink(machine: Machine) -> Findings:
    """Ask for an entry, unless the kernel would load a module for that."""
    there = machine.has_module(CTNETLINK) or (machine.features is not None and machine.features.ctnetlink)
    if not there:
        if machine.may_load(CTNETLINK):
            yield passed(f"{CTNETLINK} is not loaded yet: the kernel loads it when natlens asks")
        else:
            yield warned(
                f"no {CTNETLINK}: connections older than natlens, and single datagrams to the node, show no NAT",
                f"modprobe {CTNETLINK}, or use a kernel with CONFIG_NF_CT_NETLINK",
            )
        return
    try:
        dump(0, 1)
    except KernelError as error:
        fix = NOT_PRIVILEGED if machine.capabilities.missing() else f"modprobe {CTNETLINK}; allow CAP_NET_ADMIN"
        yield warned(str(error), fix)
        return
    yield passed("answers: connections older than natlens, single datagrams to the node")


def look_at_clock_source(machine: Machine) -> Findings:
    """Tell whether programs may read a clock that costs nothing."""
    if machine.features is None:
        yield warned("could not look: the kernel's types cannot be read", "see btf and libbpf above")
    elif machine.features.clock:
        yield passed("bpf_ktime_get_coarse_ns")
    else:
        yield passed("none before 5.11: every packet reads the precise clock, which costs some 30 ns")
