"""natlens under other kernels than this machine's: `make test-kernels`."""

import re
from pathlib import Path

import pytest

from tests.kernels.cases import CASES
from tests.kernels.document import claims
from tests.kernels.matrix import run_all
from tests.kernels.packages import KERNELS
from tests.kernels.results import Result
from tests.kernels.vm import TREE

pytestmark = pytest.mark.timeout(3600)  # the first test waits for all machines
PAGE = TREE / "docs/kernels.md"
FEW = 3  # that failed once and then passed: more of them is no accident
LEAST = 15  # scenarios that must have run without NAT: a run of nothing proves nothing


@pytest.fixture(scope="session")
def results() -> dict[str, Result]:
    return {result.kernel: result for result in run_all()}


@pytest.fixture(params=[kernel.name for kernel in KERNELS])
def result(request: pytest.FixtureRequest, results: dict[str, Result]) -> Result:
    one = results[request.param]
    if one.missing:
        pytest.skip(one.missing)
    return one


def test_machine_came_to_its_end(result: Result) -> None:
    assert result.broken == ""


def test_few_needed_a_second_try(result: Result) -> None:
    assert len(result.again) <= FEW, [f"{one.case}: {one.test}" for one in result.again]


def test_loads_and_attaches(result: Result) -> None:
    assert result.facts["attach"]["clsact"] == ""
    assert (result.facts["attach"]["tcx"] == "") == result.facts["tcx"]


@pytest.mark.parametrize("case", [case.name for case in CASES])
def test_scenarios(result: Result, case: str) -> None:
    failed = [f"{one.test}: {one.why[:400]}" for one in result.of(case, "failed")]
    assert failed == []
    passed = len(result.of(case, "passed"))
    if not passed:
        pytest.skip(f"kernel {result.kernel} has nothing that `{case}` needs")
    if case == "plain":
        assert passed >= LEAST


def test_page_says_what_the_run_says(result: Result) -> None:
    said = page(PAGE)
    if result.series not in said:
        pytest.skip(f"{PAGE.name} does not speak of {result.series}: `python -m tests.kernels.document > {PAGE.name}`")
    assert said[result.series] == claims(result)


def page(path: Path) -> dict[str, dict[str, str]]:
    """Return what the page says: series → feature → cell."""
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in re.findall(r"^\|.*\|$", path.read_text(), re.M)
    ]
    series = rows[0][1:]
    return {one: {row[0]: row[index] for row in rows[2:]} for index, one in enumerate(series, 1)}
