"""What the matrix runs in every kernel: one row a case, so that another source of NAT is one line."""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["CASES", "Case"]


class Case(NamedTuple):
    """The scenarios with one set of options."""

    name: str
    what: str  # as docs/kernels.md calls it
    tests: tuple[str, ...]
    environment: Mapping[str, str] = {}
    only: str = ""  # an expression of pytest's -k
    without: str = ""  # the same: one more of a kind that is there
    needs: str = ""  # a fact without which a kernel does not run it
    kernel: str = ""  # the only series that runs it
    hides_btf: bool = False


S = "tests/scenarios/test_"
PLAIN = (f"{S}plain.py", f"{S}stacked.py", f"{S}attach.py")
NAT = (f"{S}services.py", f"{S}reuse.py", f"{S}zones.py", f"{S}protocols.py", f"{S}vxlan.py", f"{S}modules.py")
SERVICES = (f"{S}services.py", f"{S}modules.py")
DEVICES = (f"{S}tunnels.py", f"{S}ipsec.py", f"{S}flowtable.py")
DEVICE_KINDS = "[ipip-auto or tunnel_mode[4-auto or (connection_past and masquerade)"
SOURCE = "NATLENS_NAT_SOURCE"
FEW = "test_cluster_ip[ or node_port or outside_with_masquerade or test_udp_service or sctp"
SAME_KIND = (
    "three_backends or host_port or port_only or node[1- or [6- or -6] or -pod] or [pod- or -0.0] or [0.0- or 1-2] or "
    "0-1-2 or [5000- or -5000- or nothing_is_left or bridge_port or team or order1 or order2 or resets or "
    "over_windows or host_network or one_after_the_other or node_to_pod or ipvlan"
)

CASES = (
    Case("plain", "Scenarios without NAT", PLAIN, without=SAME_KIND),
    Case("nat", "NAT scenarios, source `auto`", NAT, without=SAME_KIND),
    Case("devices", "Tunnels, IPsec, flow tables", DEVICES, only=DEVICE_KINDS),
    Case("fentry", "NAT by `fentry`", SERVICES, {SOURCE: "fentry"}, FEW, SAME_KIND, needs="fentry"),
    Case("kprobe", "NAT by `kprobe`", SERVICES, {SOURCE: "kprobe"}, FEW, SAME_KIND, needs="kprobe"),
    Case("ctnetlink", "NAT by `ctnetlink`", SERVICES, {SOURCE: "ctnetlink"}, FEW, SAME_KIND),
    Case("bcc", "Programs by bcc, no BTF", SERVICES, {}, FEW, SAME_KIND, kernel="5.10", hides_btf=True),
    Case("doctor", "`natlens doctor`", ("tests/kernels/inside/test_doctor.py",)),
    Case("choice", "Source by capabilities", ("tests/kernels/inside/test_sources.py",), needs="fentry", kernel="6.1"),
    Case("capabilities", "Three capabilities alone, lockdown", ("tests/kernels/inside/test_capabilities.py",)),
)
"""What a kernel does not run is `not tried` on the page. Capabilities come last: no way leads back from lockdown."""
