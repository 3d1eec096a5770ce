"""``natlens doctor``: each thing that can be missing is told with its way out; 0 only where natlens can run."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from natlens import agent, pipeline
from natlens.config import Options
from natlens.errors import ConfigError, KernelError, MissingFeature
from natlens.health import Health
from natlens.kernel import btf, libbpf
from natlens.kernel.btf import KernelTypes
from natlens.kernel.capture import Capture
from natlens.kernel.probe import Capabilities, Features
from natlens.kernel.windows import kernel_bytes
from natlens.ui import doctor
from natlens.ui.lab.namespaces import Namespace

EVERYTHING = Features(tcx=True, packet=True, lookup=True, ctnetlink=True, clock=True)
ROOT = Capabilities(-1)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    made = Namespace("natlens-test-doctor")
    try:
        made.ip("link add br0 type bridge\ntuntap add eth0 mode tap\ntuntap add tap0 mode tap")
        made.run("tc", "qdisc", "add", "dev", "eth0", "ingress")
        with made.enter():
            yield made
    finally:
        made.remove()


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return what was printed, by what stands first (after the mark)."""
    printed = capsys.readouterr().out.splitlines()
    assert all(line.isprintable() for line in printed)
    return {
        re.split(r"\s{2,}", line.removeprefix("ok  ").removeprefix("NO  ").removeprefix("lost  ").strip())[0]: line
        for line in printed
        if line
    }


@pytest.mark.usefixtures("namespace")
def test_this_machine_can(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main([]) == 0
    told = lines(capsys)
    assert told["capabilities"].endswith("CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN")
    assert told["programs"] == "ok    programs           this kernel takes them; attached by tcx"
    assert told["kernel memory"].endswith(" MiB: two windows of 131072 rows and 65536 translations")
    assert re.fullmatch("lo +egress +loopback: one side, or every packet counts twice", told["lo"])
    assert re.fullmatch("eth0 +ingress, egress +covered", told["eth0"])
    assert "natlens can run." in told


@pytest.mark.usefixtures("namespace")
def test_ingress_qdisc_where_clsact_would_stand(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["--attach=clsact", "--exclude-interfaces=tap*"]) == 0
    told = lines(capsys)
    assert told["programs"].endswith("attached by clsact")
    assert re.match(r"eth0 +ingress +an `ingress` qdisc stands where clsact would: what the host sends", told["eth0"])
    assert re.match(r"tap0 +nothing +excluded by", told["tap0"])
    assert re.match(r"br0 +egress +bridge", told["br0"])


def test_nothing_is_attached(namespace: Namespace) -> None:
    before = namespace.run("tc", "qdisc", "show")
    for attach in ("tcx", "clsact"):
        assert doctor.main([f"--attach={attach}"]) == 0
    assert namespace.run("tc", "qdisc", "show") == before


def test_without_privilege(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Capabilities, "read", lambda: Capabilities(0))
    assert doctor.main([]) == 1
    told = lines(capsys)
    assert told["capabilities"].startswith("NO    capabilities       missing CAP_BPF (loads the programs), CAP_PERFMON")
    assert told["capabilities"].endswith(": run as root, or add them (securityContext.capabilities.add, setcap)")
    assert "programs" not in told
    assert told["NAT from packets"].startswith("ok ")
    assert told["natlens cannot run: see what is marked NO."]


def test_without_btf(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def none() -> None:
        raise MissingFeature("no BTF")

    monkeypatch.setattr(doctor, "VMLINUX_BTF", tmp_path / "vmlinux")
    monkeypatch.setattr(KernelTypes, "__init__", lambda _: none())
    assert doctor.main([]) == 1
    told = lines(capsys)
    assert told["BTF"].startswith(f"NO    BTF                {tmp_path}/vmlinux is not there: use a kernel with")
    assert "NAT from packets" not in told


def test_without_libbpf(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing() -> None:
        raise MissingFeature("libbpf.so.1 is not installed: install your distribution's libbpf")

    monkeypatch.setattr(libbpf, "library", missing)
    monkeypatch.setattr(btf, "library", missing)
    assert doctor.main([]) == 1
    assert lines(capsys)["libbpf"].startswith("NO    libbpf             libbpf.so.1 is not installed")


def test_programs_that_the_kernel_refuses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_: libbpf.Object) -> None:
        raise KernelError("the kernel refused the BPF programs: Operation not permitted")

    monkeypatch.setattr(libbpf.Object, "load", refuse)
    assert doctor.main([]) == 1
    assert lines(capsys)["programs"].startswith("NO    programs           the kernel refused the BPF programs: Op")


@pytest.mark.parametrize(
    ("features", "told"),
    [
        (EVERYTHING, []),
        (replace(EVERYTHING, tcx=False), []),
        (
            replace(EVERYTHING, packet=False),
            ["NAT is not learned from packets: .*; TCP and UDP connections are still looked up from their second"],
        ),
        (
            replace(EVERYTHING, packet=False, lookup=False),
            ["NAT is not learned from packets: .*; only connections that ctnetlink", "conntrack is not asked as"],
        ),
        (replace(EVERYTHING, ctnetlink=False), ["ctnetlink is not there yet: "]),
        (replace(EVERYTHING, clock=False), ["every packet reads the precise clock"]),
    ],
)
def test_feature_that_is_missing_is_told_with_what_is_lost(features: Features, told: list[str]) -> None:
    lost = [finding.lost for finding in features.findings() if not finding.present]
    assert len(lost) == len(told)
    for line, pattern in zip(lost, told, strict=True):
        assert re.match(pattern, line)


def test_missing_feature_is_marked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Features, "probe", lambda: replace(EVERYTHING, lookup=False))
    assert doctor.main([]) == 0
    assert lines(capsys)["NAT by lookup"].startswith("lost  NAT by lookup")


def test_features_of_this_kernel_are_found_by_name() -> None:
    with KernelTypes() as types:
        assert types.has_function("tcp_v4_connect")
        assert not types.has_function("bpf_func_id")  # an enum
        assert not types.has_function("natlens_has_no_such_function")
        assert types.has_enumerator("bpf_func_id", "BPF_FUNC_ktime_get_ns")
        assert not types.has_enumerator("bpf_func_id", "BPF_FUNC_natlens")
        assert not types.has_enumerator("natlens_id", "BPF_FUNC_ktime_get_ns")
        assert not types.module_has_function("natlens_no_module", "tcp_v4_connect")
    assert Features.probe(ROOT).tcx == libbpf_knows_tcx()


def libbpf_knows_tcx() -> bool:
    with_tcx = Capture(Options(window_rows=1024, window_translations=1024), Health())
    try:
        return with_tcx.attached_by == "tcx"
    finally:
        with_tcx.close()


@pytest.mark.parametrize(("rows", "translations"), [(1024, 1024), (5000, 3000), (131072, 65536)])
def test_kernel_memory_is_what_the_kernel_accounts(rows: int, translations: int) -> None:
    before = accounted()
    capture = Capture(Options(window_rows=rows, window_translations=translations), Health())
    try:
        taken = accounted() - before
    finally:
        capture.close()
    fixed = 1 << 20  # counters, fragments: whatever the options
    assert kernel_bytes(rows, translations) <= taken <= 1.02 * kernel_bytes(rows, translations) + fixed


def accounted() -> int:
    told = "\n".join(one.read_text() for one in Path("/proc/self/fdinfo").iterdir() if one.exists())
    return sum(map(int, re.findall(r"^map_type:.*?^memlock:\s*(\d+)", told, re.MULTILINE | re.DOTALL)))


def test_mistake_in_an_option() -> None:
    with pytest.raises(ConfigError, match="--frob"):
        doctor.main(["--frob"])


def test_agent_tells_at_its_start_what_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_packets(*_: object) -> Features:
        return replace(EVERYTHING, packet=False)

    def refuse(*_: object) -> None:
        raise KernelError("far enough")

    monkeypatch.setattr(Features, "probe", no_packets)
    monkeypatch.setattr(pipeline.Pipeline, "run", refuse)
    with pytest.raises(KernelError, match="far enough"):
        agent.run(Options(window_rows=1024, window_translations=1024), Health())
    (message,) = caplog.messages
    assert message.startswith("NAT is not learned from packets: this kernel has no bpf_cast_to_kern_ctx")
    assert message.endswith("; natlens doctor tells more")
