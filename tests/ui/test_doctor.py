"""``natlens doctor`` as a whole: its findings, its exit status, and that it changes nothing."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ui.doctoring import machine_of

from natlens.errors import ConfigError, IdentityError, KernelError, MissingFeature
from natlens.kernel import bpf, libbpf
from natlens.kernel.filters import FILTER_NAME, HANDLES, PARENT
from natlens.kernel.netlink import route_socket
from natlens.kernel.probe import Capabilities
from natlens.ui import doctor
from natlens.ui.doctor import check, command
from natlens.ui.doctor.check import Check, Finding, Findings, Result, Status, examine, failed, passed, warned
from natlens.ui.doctor.machine import Machine
from natlens.ui.doctor.table import CHECKS
from natlens.ui.lab.namespaces import Namespace

FEW = ["--window-rows=1024", "--window-translations=1024"]
DOCUMENTATION = Path(__file__).parents[2] / "docs/doctor.md"


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    made = Namespace(f"natlens-test-doctor-{os.getpid()}")
    try:
        made.ip("link add br0 type bridge\ntuntap add eth0 mode tap\ntuntap add tap0 mode tap")
        with made.enter():
            yield made
    finally:
        made.remove()


@pytest.fixture(autouse=True)
def _nobodys_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in os.environ if one.startswith(("OTEL_", "NATLENS_", "KUBERNETES_"))]:
        monkeypatch.delenv(name)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Return exit status and results."""
    status = doctor.main(["--json", *FEW, *arguments])
    return status, json.loads(capsys.readouterr().out)


def of(results: Iterable[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [result for result in results if result["check"] == name]


@pytest.mark.usefixtures("namespace")
def test_this_machine_can(capsys: pytest.CaptureFixture[str]) -> None:
    status, results = told(capsys)
    assert status in (0, 1)
    assert {tuple(result) for result in results} == {("check", "status", "found", "fix")}
    assert list(dict.fromkeys(result["check"] for result in results)) == [one.name for one in CHECKS]
    for name in ("btf", "capabilities", "libbpf", "programs", "attachment", "nat tc", "nat ctnetlink", "interfaces"):
        assert {result["status"] for result in of(results, name)} == {"PASS"}, name
    (programs,) = of(results, "programs")
    assert programs["found"] == "this kernel takes them"
    assert "lo: egress: loopback: one side, or every packet counts twice" in [one["found"] for one in results]


@pytest.mark.usefixtures("namespace")
def test_text_says_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    status, results = told(capsys)
    assert doctor.main(FEW) == status
    lines = capsys.readouterr().out.splitlines()
    assert all(line.isprintable() for line in lines)
    printed = [line for line in lines if line.startswith(("PASS", "WARN", "FAIL"))]
    assert [line[:4] for line in printed] == [result["status"] for result in results]
    assert [line.strip() for line in lines if line.strip().startswith("→")] == [
        f"→ {result['fix']}" for result in results if result["fix"]
    ]
    assert lines[-1].startswith("natlens can run")


def test_nothing_is_changed(namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even what a natlens that was killed left: that is removed by the next start."""
    monkeypatch.chdir(tmp_path)
    with route_socket() as route, bpf.owned(bpf.load(bpf.SCHED_CLS, bpf.RETURN_0)) as fd:
        index = route.link_lookup(ifname="eth0")[0]
        route.tc("add", "clsact", index)
        name = {"fd": fd, "name": FILTER_NAME, "parent": PARENT["ingress"], "prio": 1, "direct_action": True}
        route.tc("add-filter", "bpf", index, HANDLES[3], **name)
    before = _state(namespace)
    for attach in ("tcx", "clsact", "auto"):
        doctor.main([f"--attach={attach}", *FEW, "--output=records.jsonl", "--listen=127.0.0.1:9464"])
    assert _state(namespace) == before
    assert not list(tmp_path.iterdir())


def _state(namespace: Namespace) -> list[object]:
    tcx = [bpf.tcx_chain(index, side) for index in (1, 2, 3) for side in (46, 47)]
    held = sorted(str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.exists())
    files = ("/proc/modules", "/proc/sys/kernel/perf_event_paranoid", "/proc/sys/kernel/bpf_stats_enabled")
    netfilter = [(one, _text(one)) for one in sorted(Path("/proc/sys/net").rglob("*")) if one.is_file()]
    return [
        namespace.run("tc", "qdisc", "show"),
        namespace.run("tc", "filter", "show", "dev", "eth0", "ingress"),
        tcx,
        [one for one in held if "bpf" in one or "btf" in one or "perf" in one],
        [_text(Path(name)) for name in files],
        [pair for pair in netfilter if "conntrack_count" not in str(pair[0])],
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        return str(error)


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ([passed("a")], 0),
        ([passed("a"), warned("b", "c")], 1),
        ([failed("b", "c"), warned("b", "c")], 2),
        ([failed("b", "c"), passed("a")], 2),
    ],
)
def test_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], findings: list[Finding], status: int
) -> None:
    monkeypatch.setattr(command, "CHECKS", [Check("one", "x", lambda _: findings)])
    assert doctor.main([]) == doctor.main(["--json"]) == status
    assert "FAIL." in capsys.readouterr().out or status < 2


def examined(machine: Machine, *checks: Check) -> tuple[list[Result], list[str]]:
    said: list[str] = []
    return list(examine(checks, machine, said.append)), said


def test_check_that_breaks_is_a_failure_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def breaks(_: Machine) -> Findings:
        yield passed("so far so good")
        raise ValueError("two\nlines")

    checks = Check("broken", "x", breaks), Check("next", "x", lambda _: [passed("fine")])
    results, _ = examined(machine_of(tmp_path), *checks)
    assert [(result.check, result.status) for result in results] == [
        ("broken", "PASS"),
        ("broken", "FAIL"),
        ("next", "PASS"),
    ]
    assert results[1].found == "check itself failed: ValueError: two lines"
    assert "Traceback" not in capsys.readouterr().err
    examined(machine_of(tmp_path, debug=True), *checks)
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "found", "fix"),
    [
        (ConfigError("agents is 'x'; write the Service as NAMESPACE/NAME"), "agents is 'x'", "write the Service as N"),
        (KernelError("the kernel refused: report it"), "the kernel refused", "report it"),
        (IdentityError("plainly wrong"), "plainly wrong", "see docs/configuration.md"),
    ],
)
def test_error_of_natlens_is_told_with_its_way_out(tmp_path: Path, error: Exception, found: str, fix: str) -> None:
    def raises(_: Machine) -> Findings:
        raise error

    ((result,), _) = examined(machine_of(tmp_path), Check("one", "x", raises))
    assert (result.status, result.found) == ("FAIL", found)
    assert result.fix.startswith(fix)


def test_check_that_hangs_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "PATIENCE_S", 0.05)
    released = threading.Event()

    def hangs(_: Machine) -> Findings:
        yield passed("begun")
        released.wait()

    try:
        results, said = examined(
            machine_of(tmp_path), Check("slow", "x", hangs, 0.2), Check("next", "x", lambda _: [passed("fine")])
        )
    finally:
        released.set()
    assert [result.status for result in results] == ["PASS", "FAIL", "PASS"]
    assert results[1].found.startswith("no answer within 0")
    assert said
    assert all(line.startswith("slow: ") for line in said)


def test_checks_look_in_the_namespace_of_their_caller(namespace: Namespace, tmp_path: Path) -> None:
    def look(_: Machine) -> Findings:
        yield passed(str(Path("/proc/thread-self/ns/net").readlink()))

    ((result,), _) = examined(machine_of(tmp_path), Check("one", "x", look))
    assert result.found == f"net:[{namespace.path.stat().st_ino}]"


def test_capabilities_that_are_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Capabilities, "read", lambda: Capabilities(0))
    status, results = told(capsys)
    assert status == 2
    (capabilities,) = of(results, "capabilities")
    assert capabilities["found"].startswith("missing CAP_BPF (loads the programs), CAP_PERFMON")
    assert capabilities["fix"] == "run as root, or add them (securityContext.capabilities.add, setcap)"
    (programs,) = of(results, "programs")
    assert (programs["status"], programs["found"]) == ("WARN", "not tried: capabilities are missing")


def test_without_libbpf(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing() -> None:
        raise MissingFeature("libbpf.so.1 is not installed: install libbpf (Debian: libbpf1)")

    for name in ("libbpf", "btf"):
        monkeypatch.setattr(f"natlens.kernel.{name}.library", missing)
    status, results = told(capsys)
    assert status == 2
    (found,) = of(results, "libbpf")
    assert (found["status"], found["fix"]) == ("FAIL", "install libbpf (Debian: libbpf1)")
    assert not [result for result in results if "itself failed" in result["found"]]


def test_programs_that_the_kernel_refuses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_: libbpf.Object) -> None:
        raise KernelError("the kernel refused the BPF programs: Operation not permitted")

    monkeypatch.setattr(libbpf.Object, "load", refuse)
    status, results = told(capsys)
    assert status == 2
    (programs,) = of(results, "programs")
    assert programs["found"].startswith("the kernel refused the BPF programs: Op")


def test_nobody_is_told_what_could_not_be_looked_at(tmp_path: Path) -> None:
    """A process of another user without any privilege: no traceback, nothing claimed to be missing that is not."""
    copy, libraries = tmp_path / "natlens", next(path for path in sys.path if path.endswith("site-packages"))
    shutil.copytree(Path(doctor.__file__).parents[2], copy, ignore=shutil.ignore_patterns("__pycache__"))
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == os.geteuid() and len(directory.parts) > 2:
            directory.chmod(directory.stat().st_mode | 0o055)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{tmp_path}:{libraries}", "HOME": "/nonexistent"}
    done = subprocess.run(
        [*nobody, sys.executable, "-m", "natlens", "doctor", "--json", *FEW],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    results = json.loads(done.stdout)
    assert [result["check"] for result in results if result["status"] == "FAIL"] == ["capabilities"]
    for name in ("programs", "attachment", "nat lookup", "other programs"):
        (found,) = of(results, name)
        assert found["status"] == "WARN"
        assert "could not look" in found["found"] or "not tried" in found["found"] or "as far as" in found["found"]
        assert found["fix"] == "run natlens doctor with the capabilities of natlens run"
    assert {one["status"] for one in of(results, "interfaces")} == {"PASS"}


@pytest.mark.parametrize(
    ("option", "name", "told_of"),
    [
        ("--metrics-include=frob=1", "options", "frob"),
        ("--listen=nonsense", "options", "nonsense"),
        ("--cluster-cidrs=10.0.0.0/33", "options", "10.0.0.0/33"),
        ("--identity-file=/nonexistent", "options", "/nonexistent"),
        ("--output=/nonexistent/records", "options", "/nonexistent/records"),
        ("--kubeconfig=/nonexistent", "kubernetes", "/nonexistent"),
        ("--endpoint=ftp://x", "endpoint logs", "ftp://x"),
    ],
)
def test_options_that_cannot_be_used(capsys: pytest.CaptureFixture[str], option: str, name: str, told_of: str) -> None:
    status, results = told(capsys, option)
    assert status == 2
    (found,) = [one for one in of(results, name) if one["status"] == "FAIL"]
    assert told_of in found["found"] + found["fix"]
    assert found["fix"]


def test_mistake_in_an_option() -> None:
    with pytest.raises(ConfigError, match="--frob"):
        doctor.main(["--frob"])


def test_help_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        doctor.main(["--help"])
    assert len(capsys.readouterr().out.splitlines()) <= 54


def test_every_check_is_documented() -> None:
    text = DOCUMENTATION.read_text()
    for one in CHECKS:
        assert f"| `{one.name}` | {one.what_for} |" in text
    assert len({one.name for one in CHECKS}) == len(CHECKS)


def test_statuses_are_words() -> None:
    assert json.dumps([*Status]) == '["PASS", "WARN", "FAIL"]'
