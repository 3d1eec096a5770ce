"""docs/kernels.md from a run's results: ``python -m tests.kernels.document > docs/kernels.md``."""

import re
from collections.abc import Callable, Sequence

from tests.kernels.cases import CASES
from tests.kernels.matrix import RESULTS
from tests.kernels.results import Result, recall

__all__ = ["claims", "document"]

HEAD = """\
# Kernels

Made by `make test-kernels` from what it saw: each kernel boots in a virtual machine, natlens loads and attaches, and
the scenarios of `tests/scenarios` run in it. The test fails where a cell is not what the run says.

"""
FOOT = """
`yes`: seen working, by tests that compare every record with conntrack's accounting and with the wire. `fails`: natlens
does not do there what it should. `not tried`: nothing in the run says so; the kernel lacks what it takes, or another
one stands for all. Emulation stretches time at random, so what fails gets a second try; the run names what needed one.
"""
DEVICES = {
    "VLAN": r"-vlan\]",
    "QinQ": r"-qinq\]",
    "macvlan": r"-macvlan\]",
    "bond": r"-bond\]",
    "VRF": "in_a_vrf",
    "VXLAN": "test_vxlan::",
    "IP in IP": r"\[ipip-",
    "IPsec": "test_ipsec::",
    "Flow table": "test_flowtable::",
    "SCTP associations": "test_sctp_sockets",
    "IPVS": r"test_ipvs\[.*-plain",
    "IPVS with masquerade": r"test_ipvs\[.*-masquerade",
    "Conntrack table full": "test_full_conntrack",
    "Clock set": "test_clock_that_is_set",
}
NOT_TRIED = "not tried"


def claims(result: Result) -> dict[str, str]:
    """Return what the run says of one kernel: feature → cell."""
    cells = {what: "yes" if look(result) else "no" for what, look in FACTS.items()}
    for way in ("tcx", "clsact"):
        cells[f"Attaches by {way}"] = "no" if result.facts["attach"][way] else "yes"
    for case in CASES:
        cells[case.what] = _cell(result, lambda one, name=case.name: one.case == name)
    for what, part in DEVICES.items():
        cells[what] = _cell(
            result, lambda one, part=part: one.case in ("plain", "nat", "devices") and re.search(part, one.test)
        )
    return cells


FACTS: dict[str, Callable[[Result], bool]] = {
    "BTF of the kernel": lambda result: bool(result.facts["btf"]),
    "BTF of modules": lambda result: bool(result.facts["module_btf"]),
    "Conntrack entry read from the packet": lambda result: bool(result.facts["packet"]),
    "Conntrack looked up (5.18)": lambda result: bool(result.facts["lookup"]),
    "kprobe.multi (5.18)": lambda result: bool(result.facts["kprobe_multi"]),
    "Coarse clock (5.11)": lambda result: bool(result.facts["clock"]),
}


def _cell(result: Result, wanted: Callable[..., object]) -> str:
    found = [one for one in result.outcomes if wanted(one)]
    if any(one.how == "failed" for one in found):
        return "fails"
    return "yes" if any(one.how == "passed" for one in found) else NOT_TRIED


def document(results: Sequence[Result]) -> str:
    """Return the whole page."""
    ran = [result for result in results if result.facts]
    columns = [claims(result) for result in ran]
    lines = [["", *(result.series for result in ran)], ["---"] * (len(ran) + 1)]
    lines += [[what, *(column[what] for column in columns)] for what in columns[0]]
    return HEAD + "".join(f"| {' | '.join(line)} |\n" for line in lines) + FOOT


if __name__ == "__main__":
    print(document(recall(RESULTS)), end="")
