"""What this process may do and what this kernel can do: asked once, by feature, never by version."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from natlens.errors import MissingCapability
from natlens.kernel import bpf
from natlens.kernel.btf import KernelTypes

__all__ = ["Capabilities", "Features", "Finding", "reads_memory", "require"]

VMLINUX_BTF = Path("/sys/kernel/btf/vmlinux")
CTNETLINK = Path("/sys/module/nf_conntrack_netlink")
NET_ADMIN, SYS_ADMIN, PERFMON, BPF = 12, 21, 38, 39
WHAT_FOR = {
    BPF: ("CAP_BPF", "loads the programs"),
    PERFMON: ("CAP_PERFMON", "lets them read the packet's conntrack entry"),
    NET_ADMIN: ("CAP_NET_ADMIN", "attaches them to interfaces"),
}


@dataclass(frozen=True)
class Capabilities:
    """The effective capabilities of this process."""

    effective: int

    @classmethod
    def read(cls, status: Path = Path("/proc/self/status")) -> "Capabilities":
        """Read them from procfs."""
        lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        return cls(int(lines["CapEff"], 16))

    def has(self, number: int) -> bool:
        """Tell whether a capability is there; CAP_SYS_ADMIN stands for BPF and PERFMON."""
        if self.effective >> number & 1:
            return True
        return number in (BPF, PERFMON) and bool(self.effective >> SYS_ADMIN & 1)

    def missing(self) -> list[int]:
        """Return the capabilities of :data:`WHAT_FOR` that are not there."""
        return [number for number in WHAT_FOR if not self.has(number)]


def require(capabilities: Capabilities | None = None) -> None:
    """Raise MissingCapability where natlens cannot run at all, before anything is loaded."""
    missing = (capabilities or Capabilities.read()).missing()
    if missing:
        names = ", ".join("{} ({})".format(*WHAT_FOR[number]) for number in missing)
        raise MissingCapability(
            f"missing {names}: run as root, or give the process these capabilities "
            "(securityContext.capabilities.add, or setcap on the interpreter)"
        )


def reads_memory() -> bool:
    """Tell whether programs may read the kernel's memory, as far as this process may ask."""
    try:
        os.close(bpf.load_reading())
    except OSError as error:
        return error.errno in (errno.EPERM, errno.EACCES)
    return True


class Finding(NamedTuple):
    """A feature that natlens can do without, and at what price."""

    name: str
    present: bool
    by: str
    lost: str


@dataclass(frozen=True)
class Features:
    """What this kernel can do beyond what natlens needs."""

    tcx: bool = False
    packet: bool = False  # a tc program may read its packet's conntrack entry
    cast: bool = False  # without a function call a field
    lookup: bool = False  # a tc program may look up a tuple
    ctnetlink: bool = False
    clock: bool = False  # a coarse one

    @classmethod
    def probe(cls, capabilities: Capabilities | None = None) -> "Features":
        """Ask the kernel; raises MissingFeature where it cannot tell (no BTF, no libbpf)."""
        may_read_modules = bool((capabilities or Capabilities.read()).effective >> SYS_ADMIN & 1)
        with KernelTypes() as types:

            def module(name: str, function: str) -> bool:
                return types.has_function(function) or types.module_has_function(name, function)

            return cls(
                tcx=types.has_function("tcx_link_attach"),
                packet=reads_memory(),
                cast=types.has_function("bpf_cast_to_kern_ctx"),
                lookup=types.has_function("bpf_skb_ct_lookup")
                # the kernel shows the BTF of its modules to CAP_SYS_ADMIN only (BPF_BTF_GET_FD_BY_ID)
                or (may_read_modules and types.module_has_function("nf_conntrack", "bpf_skb_ct_lookup")),
                ctnetlink=module(CTNETLINK.name, "ctnetlink_dump_table")
                or CTNETLINK.exists(),  # before 5.11 without BTF
                clock=types.has_enumerator("bpf_func_id", "BPF_FUNC_ktime_get_coarse_ns"),
            )

    def findings(self) -> list[Finding]:
        """Return each feature with what is lost without it."""
        return [
            Finding(
                "NAT from packets",
                self.packet,
                "bpf_probe_read_kernel",
                "NAT is not learned from packets: this kernel lets no program read its memory (lockdown: "
                "confidentiality); " + self._rest(),
            ),
            Finding(
                "NAT by lookup",
                self.lookup,
                "bpf_skb_ct_lookup",
                "conntrack is not asked as packets come in: this kernel has no bpf_skb_ct_lookup (5.18 has it; where "
                "nf_conntrack is a module it takes CAP_SYS_ADMIN)",
            ),
            Finding(
                "NAT by ctnetlink",
                self.ctnetlink,
                "connections older than natlens, single datagrams to the node",
                "ctnetlink is not there yet: connections older than natlens show no NAT unless the kernel loads "
                "nf_conntrack_netlink when it is asked",
            ),
            Finding(
                "coarse clock",
                self.clock,
                "bpf_ktime_get_coarse_ns",
                "every packet reads the precise clock, which costs some 30 ns: this kernel has no "
                "bpf_ktime_get_coarse_ns (5.11 has it)",
            ),
        ]

    def _rest(self) -> str:
        return (
            "TCP and UDP connections are still looked up from their second packet on"
            if self.lookup
            else "only connections that ctnetlink tells of are translated"
        )
