"""The kernel: release, configuration, types, lockdown."""

import gzip
import platform
from pathlib import Path

from natlens.kernel.probe import VMLINUX_BTF
from natlens.ui.doctor.check import Findings, failed, passed, warned
from natlens.ui.doctor.machine import Machine
from natlens.ui.doctor.packages import bcc_trouble

__all__ = ["look_at_btf", "look_at_configuration", "look_at_lockdown"]

NEEDED = {
    "CONFIG_BPF_SYSCALL": "programs cannot be loaded",
    "CONFIG_NET": "there is no network to look at",
}
TOLD = (
    *("CONFIG_BPF_JIT", "CONFIG_DEBUG_INFO_BTF", "CONFIG_DEBUG_INFO_BTF_MODULES", "CONFIG_NET_XGRESS"),
    *("CONFIG_NET_CLS_BPF", "CONFIG_NET_SCH_INGRESS", "CONFIG_NF_CONNTRACK", "CONFIG_NF_CONNTRACK_ZONES"),
    *("CONFIG_NF_CT_NETLINK", "CONFIG_NF_NAT", "CONFIG_IP_VS", "CONFIG_IP_VS_NFCT", "CONFIG_KPROBES", "CONFIG_FPROBE"),
    *("CONFIG_FUNCTION_TRACER", "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS", "CONFIG_IKHEADERS"),
)
MODULES = "nf_conntrack", "nf_nat"


def look_at_configuration(machine: Machine) -> Findings:
    """Tell the release, and how the kernel was built where it says so."""
    yield passed(f"{platform.system()} {machine.release} ({platform.machine()})")
    place, text = _configuration(machine)
    if place is None:
        yield passed("how it was built is not told (no readable config): each feature is tried instead")
        return
    values = dict(line.split("=", 1) for line in text.splitlines() if line.startswith("CONFIG_") and "=" in line)
    for name, lost in NEEDED.items():
        if name not in values:
            yield failed(f"{name} is off: {lost}", "use a kernel built with it, as distributions' are")
    if "CONFIG_NET_XGRESS" not in values and ({"CONFIG_NET_CLS_BPF", "CONFIG_NET_SCH_INGRESS"} - values.keys()):
        yield failed(
            "neither tcx (CONFIG_NET_XGRESS) nor clsact (CONFIG_NET_CLS_BPF, CONFIG_NET_SCH_INGRESS) is built",
            "use a kernel built with one of them, as distributions' are",
        )
    told = (f"{name.removeprefix('CONFIG_')}={values.get(name, 'n')}" for name in TOLD)
    yield passed(f"{place}: {' '.join(told)}")


def _configuration(machine: Machine) -> tuple[Path | None, str]:
    for name in ("/proc/config.gz", f"/boot/config-{machine.release}", f"/lib/modules/{machine.release}/config"):
        path = machine.path(name)
        try:
            data = path.read_bytes()
            return path, (gzip.decompress(data) if name.endswith(".gz") else data).decode(errors="replace")
        except (OSError, EOFError):
            continue
    return None, ""


def look_at_btf(machine: Machine) -> Findings:
    """Tell which types the kernel describes: programs are fitted to it by them."""
    btf = machine.path(str(VMLINUX_BTF))
    if not btf.exists():
        found, trouble = f"{btf} is not there", bcc_trouble(machine)
        if trouble is None:
            yield warned(f"{found}: programs are compiled on this node by bcc", "CONFIG_DEBUG_INFO_BTF starts faster")
        else:
            way_out = "use a kernel with CONFIG_DEBUG_INFO_BTF (5.10 or later), or give natlens bcc"
            yield failed(f"{found}, and bcc cannot stand in: {trouble}", way_out)
        return
    yield passed(str(btf))
    for module in MODULES:
        yield from _module(machine, module)


def _module(machine: Machine, module: str) -> Findings:
    loaded = any(line.split()[:1] == [module] for line in (machine.read("/proc/modules") or "").splitlines())
    if not loaded:
        yield passed(f"{module}: no module (built in, or not loaded)")
    elif not machine.path(f"/sys/kernel/btf/{module}").exists():
        yield warned(
            f"{module}: a module without types: conntrack cannot be looked up there, fentry cannot be used",
            "use a kernel with CONFIG_DEBUG_INFO_BTF_MODULES; other sources of translations do without",
        )
    elif not machine.is_admin:
        yield passed(f"{module}: a module with types, which the kernel shows to CAP_SYS_ADMIN only")
    else:
        yield passed(f"{module}: a module with types")


def look_at_lockdown(machine: Machine) -> Findings:
    """Tell what the kernel refuses even to root."""
    text = machine.read("/sys/kernel/security/lockdown")
    if text is None:
        yield passed("not told (no lockdown, or no securityfs here)")
        return
    mode = next((word.strip("[]") for word in text.split() if word.startswith("[")), "none")
    if mode == "confidentiality":
        yield failed(
            "confidentiality: programs may not read the kernel's memory, so no conntrack entry",
            "boot with lockdown=integrity or none",
        )
    else:
        yield passed(mode)
