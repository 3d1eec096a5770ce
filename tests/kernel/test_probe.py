"""What the kernel can do: features found by name, what is lost without them, memory as the kernel accounts it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from natlens import agent, pipeline
from natlens.config import Options
from natlens.errors import KernelError
from natlens.health import Health
from natlens.kernel.btf import KernelTypes
from natlens.kernel.capture import Capture
from natlens.kernel.probe import Capabilities, Features
from natlens.kernel.windows import kernel_bytes

EVERYTHING = Features(tcx=True, packet=True, lookup=True, ctnetlink=True, clock=True)
ROOT = Capabilities(-1)


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


@pytest.mark.parametrize("sampling", [1, 10])
@pytest.mark.parametrize(("rows", "translations"), [(1024, 1024), (5000, 3000), (131072, 65536)])
def test_kernel_memory_is_what_the_kernel_accounts(rows: int, translations: int, sampling: int) -> None:
    before = accounted()
    capture = Capture(Options(window_rows=rows, window_translations=translations, sampling=sampling), Health())
    try:
        taken = accounted() - before
    finally:
        capture.close()
    fixed = 1.25 * (1 << 20)  # counters, fragments, tables of rules: whatever the options
    told = kernel_bytes(rows, translations, verdicts=sampling > 1)
    assert told <= taken <= 1.02 * told + fixed


def accounted() -> int:
    told = "\n".join(one.read_text() for one in Path("/proc/self/fdinfo").iterdir() if one.exists())
    return sum(map(int, re.findall(r"^map_type:.*?^memlock:\s*(\d+)", told, re.MULTILINE | re.DOTALL)))


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
    assert message.startswith("NAT is not learned from packets: this kernel lets no program read its memory")
    assert message.endswith("; natlens doctor tells more")
