"""What stands at the interfaces: qdiscs in the way, other agents' programs and their order, proxies."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.ui.doctoring import FEW, looked, one, worst

from natlens.config import Options
from natlens.health import Health
from natlens.kernel import bpf, libbpf
from natlens.kernel.capture import Capture
from natlens.kernel.filters import FILTER_NAME, HANDLES, PARENT
from natlens.kernel.netlink import route_socket
from natlens.ui.doctor.check import Status
from natlens.ui.doctor.conntrack import look_at_conntrack, look_at_zones
from natlens.ui.doctor.interfaces import look_at_interfaces, look_at_neighbours
from natlens.ui.doctor.machine import Machine
from natlens.ui.doctor.proxies import AT_CONNECT, CGROUP_SOCK_ADDR, look_at_ebpf_proxies, look_at_ipvs
from natlens.ui.lab.namespaces import Namespace

MATCH = "protocol", "ip", "u32", "match", "u32", "0", "0"
CGROUP_INET4_CONNECT = 10  # BPF_CGROUP_INET4_CONNECT


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    made = Namespace(f"natlens-test-doctor-net-{os.getpid()}")
    try:
        made.ip("link add br0 type bridge\ntuntap add eth0 mode tap\ntuntap add tap0 mode tap")
        with made.enter():
            yield made
    finally:
        made.remove()


def machine(**options: Any) -> Machine:
    return Machine(Options(**{**FEW, "include_interfaces": ["eth0"], **options}), environ={})


@contextmanager
def tc(priority: int, name: str, side: str = "ingress", handle: int = 1) -> Iterator[None]:
    """Have another agent's bpf filter at eth0."""
    with route_socket() as route, bpf.owned(bpf.load(bpf.SCHED_CLS, bpf.RETURN_0)) as fd:
        index = socket.if_nametoindex("eth0")
        if not any(one.get_attr("TCA_KIND") == "clsact" for one in route.get_qdiscs(index)):
            route.tc("add", "clsact", index)
        about = {"fd": fd, "name": name, "parent": PARENT[side], "prio": priority, "direct_action": True}
        route.tc("add-filter", "bpf", index, handle, **about)
    yield


@contextmanager
def tcx(name: str) -> Iterator[None]:
    """Have another agent's program at the head of eth0's ingress."""
    with ExitStack() as stack:
        program = stack.enter_context(bpf.owned(bpf.load(bpf.SCHED_CLS, bpf.RETURN_0, name=name)))
        index = socket.if_nametoindex("eth0")
        stack.enter_context(bpf.owned(libbpf.link_tcx(program, index, libbpf.BPF_TCX_INGRESS)))
        yield


@contextmanager
def natlens(**options: Any) -> Iterator[None]:
    """Have natlens at eth0."""
    capture = Capture(machine(**options).options, Health())
    try:
        capture.refresh()
        yield
    finally:
        capture.close()


def neighbours(**options: Any) -> list[tuple[str, str]]:
    found = looked(look_at_neighbours, machine(**options))
    worst(found)
    return [(finding.status.value, finding.found) for finding in found]


@pytest.mark.usefixtures("namespace")
def test_nobody_else() -> None:
    assert neighbours() == [("PASS", "no programs of others: no tc filters, no tcx, no XDP")]
    with natlens():
        assert ("PASS", "eth0 ingress: natlens comes alone") in neighbours()


@pytest.mark.usefixtures("namespace")
def test_filter_of_another_agent() -> None:
    with tc(1, "other"):
        after = "PASS", "eth0 ingress: natlens would come before tc other (priority 1)"
        assert neighbours() == [after]
        assert neighbours(attach="clsact") == [after]  # of one priority the newest comes first
        with natlens(attach="clsact"):
            assert neighbours(attach="clsact")[0] == (
                "PASS",
                "eth0 ingress: natlens comes before tc other (priority 1)",
            )


def test_filter_that_keeps_its_priority_to_itself(namespace: Namespace) -> None:
    with tc(7, "later"):
        namespace.run("tc", "filter", "add", "dev", "eth0", "ingress", "prio", "1", *MATCH)
        told = "eth0 ingress: natlens {} after tc u32 (priority 1): packets that they take are not counted"
        assert neighbours(attach="clsact") == [("WARN", told.format("would come"))]
        assert neighbours()[0][0] == "PASS"  # tcx comes before every filter
        with natlens(attach="clsact"):
            assert ("WARN", told.format("comes")) in neighbours(attach="clsact")


@pytest.mark.usefixtures("namespace")
def test_tcx_program_of_another_agent() -> None:
    with natlens(), tcx("other_agent"):  # it put itself before natlens
        assert neighbours()[0] == (
            "WARN",
            "eth0 ingress: natlens comes after tcx other_agent: packets that they take are not counted",
        )
    with tcx("other_agent"):
        assert neighbours() == [("PASS", "eth0 ingress: natlens would come before tcx other_agent")]
        assert neighbours(attach="clsact")[0][0] == "WARN"
        with natlens():
            assert neighbours()[0] == ("PASS", "eth0 ingress: natlens comes before tcx other_agent")


@pytest.mark.usefixtures("namespace")
def test_filter_of_a_natlens_that_is_no_more() -> None:
    with tc(1, FILTER_NAME, handle=HANDLES[2]):
        (found,) = neighbours()
        assert found == ("WARN", "eth0 ingress: tc natlens (priority 1): a natlens that was killed left it")


def test_xdp_program(namespace: Namespace) -> None:
    with bpf.owned(bpf.load(6, b"\xb7\0\0\0\2\0\0\0" + b"\x95" + bytes(7), name="other_xdp")) as fd:  # XDP_PASS
        with route_socket() as route:
            route.link("set", index=socket.if_nametoindex("eth0"), xdp_fd=fd)
        assert "xdp" in namespace.run("ip", "link", "show", "eth0")
        (status, found), *_ = neighbours()
        assert status == "WARN"
        assert found.startswith("eth0 ingress: XDP program other_xdp comes first")


def test_ingress_qdisc_where_clsact_would_stand(namespace: Namespace) -> None:
    namespace.run("tc", "qdisc", "add", "dev", "eth0", "ingress")
    everything = {"include_interfaces": ["*"], "exclude_interfaces": ["tap*"]}
    blocked = one(looked(look_at_interfaces, machine(attach="clsact", **everything)), Status.WARN)
    assert blocked.found.startswith("eth0: ingress: an `ingress` qdisc stands where clsact would: what the host sends")
    assert blocked.fix.startswith("use a kernel with tcx")
    found = [finding.found for finding in looked(look_at_interfaces, machine(**everything))]
    assert "eth0: ingress, egress: covered" in found  # tcx does not care
    assert "tap0: nothing: excluded by include_interfaces / exclude_interfaces" in found
    assert any(line.startswith("br0: egress: bridge") for line in found)


@pytest.mark.usefixtures("namespace")
def test_no_interface_is_covered() -> None:
    found = one(looked(look_at_interfaces, machine(include_interfaces=["nothing"])), Status.WARN)
    assert found.found == "no interface is covered"


@pytest.mark.usefixtures("namespace")
def test_cilium_without_its_proxy(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    none = [bpf.Program(CGROUP_SOCK_ADDR, "other")]
    monkeypatch.setattr(bpf, "programs", lambda: iter(none))
    assert [one.found for one in looked(look_at_ebpf_proxies)] == ["neither Cilium nor Calico's eBPF is here"]
    namespace.ip("link add cilium_host type veth peer name cilium_net")
    (found,) = looked(look_at_ebpf_proxies)
    assert found.status == Status.PASS
    assert found.found == "Cilium is here (cilium_net, cilium_host) and does not translate at connect(2)"

    def refuse() -> Iterator[bpf.Program]:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(bpf, "programs", refuse)
    (found,) = looked(look_at_ebpf_proxies)
    assert worst([found]) == Status.WARN
    assert "cannot be told without CAP_SYS_ADMIN" in found.found


@pytest.mark.parametrize(("who", "name"), [("Cilium", "cil_sock4_connect"), ("Calico", "calico_connect_v4")])
def test_proxy_at_connect(who: str, name: str) -> None:
    """A real program of that name, as the kernel keeps it."""
    assert name[:15] in AT_CONNECT[who]
    with bpf.owned(bpf.load(CGROUP_SOCK_ADDR, bpf.RETURN_0, attach_kind=CGROUP_INET4_CONNECT, name=name)):
        found = one(looked(look_at_ebpf_proxies), Status.WARN)
    assert found.found.startswith(f"{who} stands in for kube-proxy (programs {name[:15]})")


@pytest.mark.parametrize(
    ("forward", "told"), [(0, "1 virtual servers, forwarding by Masq: Masq without"), (3, "Route")]
)
def test_real_ipvs(namespace: Namespace, forward: int, told: str) -> None:
    subprocess.run(["modprobe", "-a", "ip_vs", "ip_vs_wlc"], capture_output=True, check=False)
    if not Path("/proc/thread-self/net/ip_vs").exists():
        pytest.skip("this kernel has no IPVS")
    from pyroute2 import IPVS, IPVSDest, IPVSService

    namespace.sysctl(ipv4__vs__conntrack=0)
    with IPVS() as ipvs:
        service = IPVSService(addr="10.96.0.1", port=80, protocol=6)
        ipvs.service("add", service=service)
        ipvs.dest("add", service=service, dest=IPVSDest(addr="10.0.0.3", port=8080, fwd_method=forward))
        found = one(looked(look_at_ipvs), Status.WARN)
        assert told in found.found
        if forward == 0:
            namespace.sysctl(ipv4__vs__conntrack=1)
            assert worst(looked(look_at_ipvs)) == Status.PASS


def test_conntrack_of_this_machine_and_its_zones(namespace: Namespace) -> None:
    rules = """
        table ip raw {
            chain output {
                type filter hook output priority raw;
                udp dport 7 ct zone set 7
            }
            chain track { type filter hook input priority 0; ct state new accept; }
        }
    """
    namespace.run("nft", "-f", "-", stdin=rules)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for port in (7, 8):
            sender.sendto(b"x", ("127.0.0.1", port))
    (zones,) = looked(look_at_zones)
    assert zones.status == Status.PASS
    assert zones.found.startswith("zone 0: 1, zone 7: ")
    count, _ = looked(look_at_conntrack)
    assert count.status == Status.PASS
    assert count.found.split()[0] != "0"
