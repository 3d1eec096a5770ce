"""What this process may do and what this kernel can do: asked once, by feature, never by version."""

from dataclasses import dataclass
from pathlib import Path

from natlens.errors import MissingCapability, MissingFeature

__all__ = ["Capabilities", "require"]

VMLINUX_BTF = Path("/sys/kernel/btf/vmlinux")
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


def require(capabilities: Capabilities | None = None, btf: Path = VMLINUX_BTF) -> None:
    """Raise MissingCapability or MissingFeature where natlens cannot run at all, before anything is loaded."""
    missing = (capabilities or Capabilities.read()).missing()
    if missing:
        names = ", ".join("{} ({})".format(*WHAT_FOR[number]) for number in missing)
        raise MissingCapability(
            f"missing {names}: run as root, or give the process these capabilities "
            "(securityContext.capabilities.add, or setcap on the interpreter)"
        )
    if not btf.exists():
        raise MissingFeature(
            f"{btf} is not there: this kernel carries no BTF (CONFIG_DEBUG_INFO_BTF), which the compiled "
            "programs need; use a distribution kernel of 5.10 or later"
        )
