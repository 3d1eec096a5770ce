"""`natlens doctor` where it has never been: it names what the kernel is, and does not fall over. Only in a VM."""

import json
import os
from collections import defaultdict

import pytest

from natlens.kernel.probe import Features
from natlens.ui.cli import main

pytestmark = pytest.mark.skipif("NATLENS_VM" not in os.environ, reason="holds for the kernels of the matrix")

NAMED = {
    "kernel",
    "btf",
    "lockdown",
    "kernel memory",
    "attachment",
    "nat tc",
    "nat fentry",
    "nat kprobe",
    "nat ctnetlink",
}


def test_doctor_names_the_kernels_facts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NATLENS_VM")  # no option
    status = main(["doctor", "--json"])
    said: dict[str, list[tuple[str, str]]] = defaultdict(list)
    out, err = capsys.readouterr()
    assert out, err
    for one in json.loads(out):
        said[one["check"]].append((one["status"], one["found"]))
    assert status == (2 if any(how == "FAIL" for one in said.values() for how, _ in one) else 1)  # no Kubernetes here
    assert said.keys() >= NAMED
    assert [how for how, _ in said["programs"]] == ["PASS"], said["programs"]
    assert said["attachment"][0][1].startswith("tcx links") == Features.probe().tcx
    assert not [found for one in said.values() for _, found in one if "Traceback" in found]
