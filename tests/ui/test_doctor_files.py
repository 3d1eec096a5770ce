"""Checks that read files: each from a machine made of files."""

import gzip
import os
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.agent.bpffs import mounted_bpffs
from tests.ui.doctoring import RELEASE, looked, machine_of, one, worst

from natlens.kernel import trial
from natlens.kernel.pinning import Pins
from natlens.kernel.probe import Capabilities, Features
from natlens.kernel.trial import Trial
from natlens.ui.doctor import packages
from natlens.ui.doctor.check import Status
from natlens.ui.doctor.conntrack import look_at_conntrack
from natlens.ui.doctor.kernel import NEEDED, TOLD, look_at_btf, look_at_configuration, look_at_lockdown
from natlens.ui.doctor.packages import bcc_trouble, look_at_bcc
from natlens.ui.doctor.process import look_at_bpffs, look_at_memory, look_at_seccomp
from natlens.ui.doctor.proxies import look_at_ipvs
from natlens.ui.doctor.sources import look_at_ctnetlink
from natlens.ui.lab.namespaces import Namespace

CONNTRACK = "/proc/sys/net/netfilter/nf_conntrack_"
IPVS = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A600001:0050 rr
  -> 0AF40102:1F90      {kind}    1      0          0
"""


def built(*without: str) -> str:
    return "".join(f"{name}=y\n" for name in (*NEEDED, *TOLD) if name not in without) + "# CONFIG_X is not set\n"


@pytest.mark.parametrize("place", ["/proc/config.gz", f"/boot/config-{RELEASE}", f"/lib/modules/{RELEASE}/config"])
def test_configuration_is_read_where_it_is(tmp_path: Path, place: str) -> None:
    machine = machine_of(tmp_path, {place: ""})
    text = built("CONFIG_KPROBES").encode()
    machine.path(place).write_bytes(gzip.compress(text) if place.endswith(".gz") else text)
    findings = looked(look_at_configuration, machine)
    assert worst(findings) == Status.PASS
    assert RELEASE in findings[0].found
    assert findings[-1].found.startswith(str(machine.path(place)))
    assert "KPROBES=n" in findings[-1].found
    assert "NF_NAT=y" in findings[-1].found


@pytest.mark.parametrize(
    ("without", "told"),
    [
        (["CONFIG_BPF_SYSCALL"], "CONFIG_BPF_SYSCALL is off"),
        (["CONFIG_NET_XGRESS", "CONFIG_NET_CLS_BPF"], "neither tcx"),
        (["CONFIG_NET_XGRESS", "CONFIG_NET_SCH_INGRESS"], "neither tcx"),
        (["CONFIG_NET_CLS_BPF"], None),
        (["CONFIG_NET_XGRESS"], None),
    ],
)
def test_configuration_that_cannot_do(tmp_path: Path, without: list[str], told: str | None) -> None:
    findings = looked(look_at_configuration, machine_of(tmp_path, {f"/boot/config-{RELEASE}": built(*without)}))
    assert worst(findings) == (Status.FAIL if told else Status.PASS)
    if told:
        assert one(findings, Status.FAIL).found.startswith(told)


def test_configuration_that_is_nowhere_or_broken(tmp_path: Path) -> None:
    for files in ({}, {"/proc/config.gz": "no gzip"}):
        findings = looked(look_at_configuration, machine_of(tmp_path, files))
        assert worst(findings) == Status.PASS
        assert "each feature is tried instead" in findings[-1].found


def test_types_of_the_kernel_and_its_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = machine_of(tmp_path)
    findings = looked(look_at_btf, machine)
    assert one(findings, Status.FAIL).found == (
        f"{tmp_path}/sys/kernel/btf/vmlinux is not there, and bcc cannot stand in: {bcc_trouble(machine)}"
    )
    files = {"/sys/kernel/btf/vmlinux": "", "/proc/modules": "nf_conntrack 1 0 - Live 0x0\nnf_nat 1 0 - Live 0x0\n"}
    findings = looked(look_at_btf, machine_of(tmp_path, {**files, "/sys/kernel/btf/nf_nat": ""}))
    assert one(findings, Status.WARN).found.startswith("nf_conntrack: a module without types")
    assert findings[-1].found == "nf_nat: a module with types"
    monkeypatch.setattr(Capabilities, "read", lambda: Capabilities(0))
    findings = looked(look_at_btf, machine_of(tmp_path))
    assert findings[-1].found == "nf_nat: a module with types, which the kernel shows to CAP_SYS_ADMIN only"


@pytest.mark.parametrize(
    ("text", "status", "told"),
    [
        ("[none] integrity confidentiality\n", Status.PASS, "none"),
        ("none [integrity] confidentiality\n", Status.PASS, "integrity"),
        ("none integrity [confidentiality]\n", Status.FAIL, "confidentiality: programs may not read"),
        (None, Status.PASS, "not told"),
    ],
)
def test_lockdown(tmp_path: Path, text: str | None, status: Status, told: str) -> None:
    files = {} if text is None else {"/sys/kernel/security/lockdown": text}
    (finding,) = looked(look_at_lockdown, machine_of(tmp_path, files))
    assert worst([finding]) == status
    assert finding.found.startswith(told)


@pytest.mark.parametrize(("mode", "works", "status"), [("0", False, "PASS"), ("2", True, "PASS"), ("2", False, "FAIL")])
def test_seccomp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, works: bool, status: str) -> None:
    monkeypatch.setattr(Capabilities, "read", lambda: Capabilities(-1))
    monkeypatch.setattr(trial, "try_program", lambda: Trial(works, "Operation not permitted"))
    findings = looked(look_at_seccomp, machine_of(tmp_path, {"/proc/self/status": f"Name:\tx\nSeccomp:\t{mode}\n"}))
    assert worst(findings) == status


def test_locked_memory_counts_where_the_kernel_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Features, "probe", lambda: Features(clock=False))
    monkeypatch.setattr(Capabilities, "read", lambda: Capabilities(0))
    monkeypatch.setattr("resource.getrlimit", lambda _: (64 << 10, 64 << 10))
    assert worst(looked(look_at_memory, machine_of(tmp_path))) == Status.FAIL
    monkeypatch.setattr(Capabilities, "read", lambda: Capabilities(1 << 24))  # CAP_SYS_RESOURCE raises the limit
    assert worst(looked(look_at_memory, machine_of(tmp_path))) == Status.PASS
    monkeypatch.setattr(Features, "probe", lambda: Features(clock=True))
    monkeypatch.setattr(Capabilities, "read", lambda: Capabilities(0))
    assert worst(looked(look_at_memory, machine_of(tmp_path))) == Status.PASS


def test_memory_that_the_node_does_not_have(tmp_path: Path) -> None:
    machine = machine_of(tmp_path, {"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    1024 kB\n"})
    assert one(looked(look_at_memory, machine), Status.WARN).found == "1 MiB are available"


def test_no_bpffs(tmp_path: Path) -> None:
    path = str(tmp_path / "natlens")
    (off,) = looked(look_at_bpffs, machine_of(tmp_path, pin_path=path))
    assert (off.status, off.found.endswith("not needed, as nothing is pinned")) == (Status.PASS, True)
    (on,) = looked(look_at_bpffs, machine_of(tmp_path, pin_path=path, pin=True))
    assert (on.status, "is not in a BPF file system" in on.found) == (Status.FAIL, True)


def test_bpffs_and_what_an_agent_left_in_it(tmp_path: Path) -> None:
    (tmp_path / "bpf").mkdir()
    node = Namespace(f"nld{os.getpid()}")
    with mounted_bpffs(tmp_path / "bpf") as root, ExitStack() as stack:
        stack.callback(node.remove)
        stack.enter_context(node.enter())
        machine = machine_of(tmp_path, pin_path=str(root / "natlens"))
        assert worst(looked(look_at_bpffs, machine)) == Status.PASS
        with closing(Pins(root / "natlens", keep=True)):  # an agent that runs
            assert worst(looked(look_at_bpffs, machine)) == Status.PASS
        assert "natlens detach" in one(looked(look_at_bpffs, machine), Status.WARN).fix
        goes_on = machine_of(tmp_path, pin_path=str(root / "natlens"), pin=True)
        assert worst(looked(look_at_bpffs, goes_on)) == Status.PASS


def bcc_of_the_distribution(root: Path, *, headers: bool = True) -> dict[str, str]:
    package = "/usr/lib/python3/dist-packages/bcc/"
    files = {package + name: "" for name in ("__init__.py", "libbcc.py", "table.py")}
    files["/usr/lib/x86_64-linux-gnu/libbcc.so.0"] = ""
    if headers:
        files[f"/lib/modules/{RELEASE}/build/Makefile"] = ""
    assert root.exists()
    return files


def test_bcc_of_the_distribution_stands_in_for_types(tmp_path: Path) -> None:
    machine = machine_of(tmp_path, bcc_of_the_distribution(tmp_path))
    assert worst(looked(look_at_bcc, machine)) == Status.PASS
    assert "compiled on this node by bcc" in one(looked(look_at_btf, machine), Status.WARN).found


def test_bcc_without_headers(tmp_path: Path) -> None:
    machine = machine_of(tmp_path, bcc_of_the_distribution(tmp_path, headers=False))
    finding = one(looked(look_at_bcc, machine), Status.FAIL)
    assert finding.found.endswith(f"no headers of kernel {RELEASE}")
    assert f"linux-headers-{RELEASE}" in finding.fix
    machine_of(tmp_path, {"/sys/kernel/btf/vmlinux": ""})
    assert worst(looked(look_at_bcc, machine)) == Status.PASS  # then it is not needed


def test_another_package_of_the_name_bcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    impostor = tmp_path / "site"
    (impostor / "bcc").mkdir(parents=True)
    (impostor / "bcc/__init__.py").write_text("raise RuntimeError('it was imported')\n")
    monkeypatch.syspath_prepend(impostor)
    machine = machine_of(tmp_path)
    findings = looked(look_at_bcc, machine)
    assert [finding.status for finding in findings] == [Status.FAIL, Status.FAIL]
    assert findings[0].found == f"{impostor}/bcc is another package of the name, from PyPI"
    assert "pip uninstall bcc" in findings[0].fix
    assert packages.INSTALL in findings[1].fix
    machine_of(tmp_path, {"/sys/kernel/btf/vmlinux": ""})
    assert worst(looked(look_at_bcc, machine)) == Status.WARN


@pytest.mark.parametrize(
    ("count", "most", "status", "told"),
    [
        ("10", "100", Status.PASS, "10 of 100 entries"),
        ("80", "100", Status.WARN, "80 of 100 entries: nearly full"),
        ("100", "100", Status.FAIL, "100 of 100 entries: full"),
        ("101", "100", Status.FAIL, "101 of 100 entries: full"),
        ("5", "0", Status.PASS, "5 of 0 entries"),  # 0: without a limit
    ],
)
def test_conntrack_fills_up(tmp_path: Path, count: str, most: str, status: Status, told: str) -> None:
    files = {CONNTRACK + "count": count, CONNTRACK + "max": most, CONNTRACK + "acct": "1\n"}
    findings = looked(look_at_conntrack, machine_of(tmp_path, files))
    assert worst(findings) == status
    assert findings[0].found.startswith(told)
    if findings[0].fix:
        assert findings[0].fix.startswith(f"sysctl -w net.netfilter.nf_conntrack_max={2 * int(most)}")


def test_conntrack_that_is_not_loaded(tmp_path: Path) -> None:
    assert one(looked(look_at_conntrack, machine_of(tmp_path)), Status.WARN).found.startswith(
        "nf_conntrack is not loaded"
    )


def test_ctnetlink_is_not_made_to_load_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("it was asked")

    monkeypatch.setattr("natlens.ui.doctor.sources.dump", never)
    monkeypatch.setattr(Features, "probe", lambda: Features(ctnetlink=False))
    machine = machine_of(tmp_path)
    assert one(looked(look_at_ctnetlink, machine), Status.WARN).fix.startswith("modprobe nf_conntrack_netlink")
    dep = "kernel/net/netfilter/nf_conntrack_netlink.ko.xz: kernel/net/netfilter/nf_conntrack.ko.xz\n"
    machine_of(tmp_path, {f"/lib/modules/{RELEASE}/modules.dep": dep})
    assert worst(looked(look_at_ctnetlink, machine)) == Status.PASS


@pytest.mark.parametrize(
    ("kind", "told_conntrack", "status"),
    [
        ("Masq   ", "1", Status.PASS),
        ("Masq   ", "0", Status.WARN),
        ("Route  ", "1", Status.WARN),
        ("Tunnel ", "1", Status.WARN),
        ("Local  ", "0", Status.PASS),
    ],
)
def test_ipvs(tmp_path: Path, kind: str, told_conntrack: str, status: Status) -> None:
    files = {
        "/proc/thread-self/net/ip_vs": IPVS.format(kind=kind),
        "/proc/sys/net/ipv4/vs/conntrack": told_conntrack + "\n",
    }
    (finding,) = looked(look_at_ipvs, machine_of(tmp_path, files))
    assert worst([finding]) == status
    assert finding.found.startswith("1 virtual servers")


def test_no_ipvs(tmp_path: Path) -> None:
    assert [finding.found for finding in looked(look_at_ipvs, machine_of(tmp_path))] == ["not in use"]
