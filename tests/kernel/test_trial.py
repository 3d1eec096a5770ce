"""Trials against the running kernel: they say what the agent's own programs then meet, and leave nothing."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from natlens.kernel import bpf, trial
from natlens.kernel.libbpf import BPF_TCX_INGRESS
from natlens.kernel.probe import Features
from natlens.kernel.trial import Trial

TRIALS = [
    trial.try_program,
    trial.try_tcx,
    trial.try_reading,
    trial.try_lookup,
    trial.try_fentry,
    trial.try_kprobe,
    trial.try_multi,
]


def descriptors() -> set[str]:
    return {str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.exists()}


@pytest.mark.parametrize("attempt", TRIALS)
def test_nothing_stays(attempt: Callable[[], Trial]) -> None:
    before = descriptors()
    tried = attempt()
    assert tried.works == (not tried.why)
    assert not any("bpf" in one or "btf" in one or "perf" in one or "link" in one for one in descriptors() - before)


def test_trials_agree_with_the_kernels_types() -> None:
    features = Features.probe()
    assert trial.try_program().works
    assert trial.try_tcx().works == features.tcx
    assert trial.try_reading().works == features.packet
    assert trial.try_lookup().works == features.lookup


def test_function_that_no_kernel_has() -> None:
    tried = trial.try_fentry("natlens_has_no_such_function")
    assert tried == Trial(
        False, "natlens_has_no_such_function is not there: the module nf_nat is not loaded, or has no BTF"
    )
    assert not trial.try_kprobe("natlens_has_no_such_function").works


@pytest.mark.parametrize("attempt", [trial.try_reading, trial.try_fentry, trial.try_kprobe])
def test_what_hears_of_packets_reads_memory(attempt: Callable[[], Trial], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(bpf, "load_reading", refuse)
    assert attempt() == Trial(False, "lockdown: confidentiality lets no program read the kernel's memory")


def test_program_that_the_verifier_refuses() -> None:
    leaves_r0_unset = b"\x95" + bytes(7)
    with pytest.raises(OSError, match="R0 !read_ok"):
        bpf.load(bpf.SCHED_CLS, leaves_r0_unset)


def test_program_is_found_by_its_name_while_it_is_held() -> None:
    fd = bpf.load(bpf.SCHED_CLS, bpf.RETURN_0, name="natlens_tests_it")
    try:
        assert bpf.Program(bpf.SCHED_CLS, "natlens_tests_i") in list(bpf.programs())
        assert any("bpf-prog" in one for one in descriptors())
    finally:
        os.close(fd)


def test_no_module_of_that_name() -> None:
    with pytest.raises(FileNotFoundError, match="natlens_no_module"), bpf.module_types("natlens_no_module"):
        pass


def test_no_interface_of_that_number() -> None:
    with pytest.raises(OSError, match="No such device" if Features.probe().tcx else "Invalid argument"):
        bpf.tcx_chain(0x7FFFFFFF, BPF_TCX_INGRESS)
