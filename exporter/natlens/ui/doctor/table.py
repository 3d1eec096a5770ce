"""The table of checks: adding one is adding a row."""

from natlens.ui.doctor.check import Check
from natlens.ui.doctor.clock import look_at_clock
from natlens.ui.doctor.conntrack import look_at_conntrack, look_at_zones
from natlens.ui.doctor.endpoints import look_at_endpoint
from natlens.ui.doctor.interfaces import look_at_interfaces, look_at_neighbours
from natlens.ui.doctor.kernel import look_at_btf, look_at_configuration, look_at_lockdown
from natlens.ui.doctor.kubernetes import look_at_api, look_at_node, look_at_rights
from natlens.ui.doctor.packages import look_at_bcc, look_at_libbpf
from natlens.ui.doctor.process import look_at_bpffs, look_at_capabilities, look_at_memory, look_at_seccomp
from natlens.ui.doctor.proxies import look_at_ebpf_proxies, look_at_ipvs
from natlens.ui.doctor.settings import look_at_options
from natlens.ui.doctor.sources import (
    look_at_attachment,
    look_at_clock_source,
    look_at_ctnetlink,
    look_at_fentry,
    look_at_kprobe,
    look_at_lookup,
    look_at_programs,
    look_at_reading,
)

__all__ = ["CHECKS"]

CHECKS = (
    Check("kernel", "what it is, and what it was built with", look_at_configuration),
    Check("btf", "its types, to which programs are fitted", look_at_btf),
    Check("lockdown", "what it refuses even to root", look_at_lockdown),
    Check("capabilities", "CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN", look_at_capabilities),
    Check("seccomp", "a filter of system calls", look_at_seccomp),
    Check("kernel memory", "what the windows take, and the limit of locked memory", look_at_memory),
    Check("bpffs", "where programs are pinned, if they are", look_at_bpffs),
    Check("libbpf", "loads programs", look_at_libbpf),
    Check("bcc", "compiles programs where the kernel has no types", look_at_bcc),
    Check("programs", "loaded as natlens run does, not attached", look_at_programs),
    Check("attachment", "tcx links or clsact filters", look_at_attachment),
    Check("clock of programs", "a cheap one", look_at_clock_source),
    Check("nat tc", "translations read from packets", look_at_reading),
    Check("nat lookup", "translations asked for as packets come in", look_at_lookup),
    Check("nat fentry", "translations seen as the kernel makes them", look_at_fentry),
    Check("nat kprobe", "the same by kprobe", look_at_kprobe),
    Check("nat ctnetlink", "translations of older connections", look_at_ctnetlink),
    Check("conntrack", "whether it is there, and how full", look_at_conntrack),
    Check("conntrack zones", "which are in use", look_at_zones),
    Check("proxy ebpf", "Cilium or Calico in kube-proxy's place", look_at_ebpf_proxies),
    Check("proxy ipvs", "what IPVS does with packets", look_at_ipvs),
    Check("interfaces", "which are covered, and why the others are not", look_at_interfaces),
    Check("other programs", "whose tc filters, tcx and XDP programs come before and after", look_at_neighbours),
    Check("options", "files, port and sums that they name", look_at_options),
    Check("kubernetes", "whether the API answers and lets natlens in", look_at_api),
    Check("kubernetes rights", "each right that natlens needs", look_at_rights, 60.0),
    Check("kubernetes node", "this node's name, addresses and pods there", look_at_node),
    Check("endpoint logs", "DNS, TCP, TLS and an empty export", look_at_endpoint("logs")),
    Check("endpoint metrics", "the same", look_at_endpoint("metrics")),
    Check("endpoint traces", "the same", look_at_endpoint("traces")),
    Check("clock", "synchronised, without jumps", look_at_clock),
)
