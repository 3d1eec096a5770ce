"""Proxies that do no netfilter NAT, and what that means for records."""

import re

from natlens.kernel import bpf
from natlens.kernel.links import read_links
from natlens.ui.doctor.check import Finding, Findings, passed, warned
from natlens.ui.doctor.machine import Machine

__all__ = ["look_at_ebpf_proxies", "look_at_ipvs"]

DEVICES = {
    "Cilium": re.compile(r"cilium_(host|net|vxlan|geneve|wg0)|lxc_health"),
    "Calico": re.compile(r"bpf(in|out)\.cali"),
}
AT_CONNECT = {
    "Cilium": {"cil_sock4_conne", "cil_sock6_conne", "sock4_connect", "sock6_connect"},
    "Calico": {"calico_connect_"},
}
"""Programs of socket load balancing, as far as the kernel keeps names: 15 characters."""
CGROUP_SOCK_ADDR = 18  # BPF_PROG_TYPE_CGROUP_SOCK_ADDR
MEANS = "it translates outside netfilter: records of calls to Services say the pod that was chosen, without the Service"
FIXES = {
    "Cilium": "kubeProxyReplacement: false (with kube-proxy) shows Services in records",
    "Calico": "bpfConnectTimeLoadBalancing: Disabled, or the iptables data plane, shows Services in records",
}
FORWARD = re.compile(r"^\s+->\s+\S+\s+(Masq|Route|Tunnel|Local|Bypass)\b")
SERVICE = re.compile(r"^(TCP|UDP|SCTP|FWM)\s")


def look_at_ebpf_proxies(_machine: Machine) -> Findings:
    """Look for Cilium's and Calico's replacement of kube-proxy: their devices, and their programs at connect(2)."""
    names = [link.name for link in read_links()]
    try:
        loaded = {one.name for one in bpf.programs() if one.kind == CGROUP_SOCK_ADDR}
    except OSError:  # programs are shown to CAP_SYS_ADMIN only
        loaded = None
    found = [one for who in DEVICES if (one := _proxy(who, names, loaded))]
    yield from found or [passed("neither Cilium nor Calico's eBPF is here")]


def _proxy(who: str, names: list[str], loaded: set[str] | None) -> Finding | None:
    devices = [name for name in names if DEVICES[who].fullmatch(name)]
    here = f"{who} is here ({', '.join(devices[:3])})"
    at_connect = sorted((loaded or set()) & AT_CONNECT[who])
    if at_connect:
        return warned(f"{who} stands in for kube-proxy (programs {', '.join(at_connect)}): {MEANS}", FIXES[who])
    if devices and loaded is None:
        what = "whether it stands in for kube-proxy cannot be told without CAP_SYS_ADMIN: if it does,"
        return warned(f"{here}; {what} {MEANS}", FIXES[who])
    return passed(f"{here} and does not translate at connect(2)") if devices else None


def look_at_ipvs(machine: Machine) -> Findings:
    """Tell what IPVS does with packets: only where it masquerades them and tells conntrack is the pod known."""
    text = machine.read("/proc/thread-self/net/ip_vs")
    if text is None:
        yield passed("not in use")
        return
    lines = text.splitlines()
    services = sum(1 for line in lines if SERVICE.match(line))
    kinds = {found[1] for line in lines if (found := FORWARD.match(line))} - {"Local"}
    told = f"{services} virtual servers" + (f", forwarding by {', '.join(sorted(kinds))}" if kinds else "")
    untranslated = kinds - {"Masq"}
    unknown = "Masq" in kinds and machine.number("/proc/sys/net/ipv4/vs/conntrack") == 0
    if untranslated:
        yield warned(
            f"{told}: {', '.join(sorted(untranslated))} translates nothing: those records say the Service, not the pod",
            "forward by masquerading (ipvsadm -m, as kube-proxy does)",
        )
    if unknown:
        yield warned(
            f"{told}: Masq without conntrack: a call to a Service is two records, Service and pod apart",
            "sysctl -w net.ipv4.vs.conntrack=1 (kube-proxy sets it)",
        )
    if not untranslated and not unknown:
        yield passed(told + ("; conntrack tells the pods" if kinds else ""))
