"""What the matrix runs in every kernel: one row a case, so that another source of NAT is one line."""

from collections.abc import Mapping
from typing import NamedTuple

from natlens.config import Options

__all__ = ["CASES", "Case", "has_option"]


class Case(NamedTuple):
    """The scenarios with one set of options."""

    name: str
    what: str  # as docs/kernels.md calls it
    tests: tuple[str, ...]
    environment: Mapping[str, str] = {}
    only: str = ""  # an expression of pytest's -k
    option: str = ""  # which this natlens must have, else there is no such case
    needs: str = ""  # a fact without which a kernel does not run it


S = "tests/scenarios/test_"
PLAIN = (f"{S}plain.py", f"{S}stacked.py", f"{S}attach.py")
NAT = (f"{S}services.py", f"{S}reuse.py", f"{S}zones.py", f"{S}protocols.py", f"{S}vxlan.py", f"{S}modules.py")
SOURCE = "NATLENS_NAT_SOURCE"
FEW = "cluster_ip or node_port or redirect or sctp or zones"

CASES = (
    Case("plain", "Scenarios without NAT", PLAIN),
    Case("nat", "NAT scenarios, source `auto`", NAT, needs="nat"),
    Case("fentry", "NAT by `fentry`", NAT, {SOURCE: "fentry"}, FEW, option="nat_source"),
    Case("kprobe", "NAT by `kprobe`", NAT, {SOURCE: "kprobe"}, FEW, option="nat_source"),
    Case("ctnetlink", "NAT by `ctnetlink`", NAT, {SOURCE: "ctnetlink"}, FEW, option="nat_source"),
    Case("capabilities", "Three capabilities alone, lockdown", ("tests/kernels/inside",)),  # last: no way leads back
)


def has_option(name: str) -> bool:
    """Tell whether this natlens has an option: cases of options to come stand here before them."""
    return not name or name in Options.__struct_fields__
