"""What this process may: capabilities, seccomp, locked memory, bpffs."""

import os
import resource
from pathlib import Path

from natlens.kernel import bpffs, trial
from natlens.kernel.controls import is_controlled
from natlens.kernel.pinning import left_behind
from natlens.kernel.probe import WHAT_FOR
from natlens.kernel.windows import kernel_bytes
from natlens.ui.doctor.check import Findings, failed, passed, warned
from natlens.ui.doctor.machine import Machine

__all__ = ["look_at_bpffs", "look_at_capabilities", "look_at_memory", "look_at_seccomp"]

SYS_RESOURCE = 24
MIB = 1 << 20
BPFFS = "/sys/fs/bpf"
MODES = {"0": "off", "1": "strict", "2": "filter"}


def look_at_capabilities(machine: Machine) -> Findings:
    """Tell whether the three are there."""
    found = machine.capabilities
    more = " and CAP_SYS_ADMIN, which is not needed" if machine.is_admin else ""
    if missing := found.missing():
        names = ", ".join("{} ({})".format(*WHAT_FOR[number]) for number in missing)
        way_out = "run as root, or add them (securityContext.capabilities.add, setcap)"
        yield failed(f"missing {names}", way_out)
    else:
        yield passed(f"{', '.join(name for name, _ in WHAT_FOR.values())}{more} (uid {os.geteuid()})")


def look_at_seccomp(machine: Machine) -> Findings:
    """Tell whether a filter of system calls stands in the way of bpf(2)."""
    lines = (line.partition(":\t") for line in (machine.read("/proc/self/status") or "").splitlines())
    mode = MODES.get(next((value for name, _, value in lines if name == "Seccomp"), ""), "not told")
    if mode == "filter" and not machine.capabilities.missing():
        tried = trial.try_program()
        if not tried.works:
            yield failed(
                f"a filter, and bpf(2) says: {tried.why}",
                "let it allow bpf and perf_event_open (seccompProfile: RuntimeDefault does, with these capabilities)",
            )
            return
    yield passed(mode)


def look_at_memory(machine: Machine) -> Findings:
    """Tell the kernel memory that the windows take, and whether the limit of locked memory counts it."""
    options = machine.options
    size = kernel_bytes(options.window_rows, options.window_translations, verdicts=is_controlled(options))
    windows = f"two windows of {options.window_rows} rows and {options.window_translations} translations"
    told = f"{size / MIB:.0f} MiB: {windows}"
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    counts = machine.features is not None and not machine.features.clock  # libbpf tells by the same helper, both 5.11
    if counts and limit != resource.RLIM_INFINITY and limit < size and not machine.capabilities.has(SYS_RESOURCE):
        yield failed(
            f"{told}; this kernel counts it as locked memory, of which {limit / MIB:.0f} MiB are allowed",
            "LimitMEMLOCK=infinity or `ulimit -l unlimited`, or CAP_SYS_RESOURCE; or less window_rows",
        )
        return
    yield passed(told)
    available = _available(machine)
    if available is not None and available < 2 * size:
        yield warned(f"{available / MIB:.0f} MiB are available", "lower window_rows, or give the node more memory")


def _available(machine: Machine) -> int | None:
    lines = (line.split() for line in (machine.read("/proc/meminfo") or "").splitlines())
    return next((int(parts[1]) << 10 for parts in lines if parts[0] == "MemAvailable:"), None)


def look_at_bpffs(machine: Machine) -> Findings:
    """Tell whether what outlives a process could be pinned, and whether something of an ended agent is."""
    path = Path(machine.options.pin_path)
    if lacks := bpffs.lacks(path):
        if machine.options.pin:
            yield failed(f"{path}: {lacks}", f"mount -t bpf bpf {BPFFS} (in a pod: mount the host's, hostPath {BPFFS})")
        else:
            yield passed(f"{path}: {lacks}; not needed, as nothing is pinned")
        return
    yield passed(f"{path} may be used")
    if left_behind(path) and not machine.options.pin:
        yield warned("an agent with pin that runs no more counts on", "run natlens with pin, or natlens detach")
