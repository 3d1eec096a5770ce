"""The scenarios again with programs that bcc compiled: the same records."""

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from tests.kernel.bcc import bcc_headers
from tests.scenarios import (
    test_clash,
    test_fragments,
    test_lifetime,
    test_paths,
    test_plain,
    test_protocols,
    test_reuse,
    test_segments,
    test_services,
    test_zones,
)
from tests.scenarios.harness import Lab, Setup

Scenario = Callable[[Lab], None]
MODULES = (
    test_services,
    test_plain,
    test_protocols,
    test_paths,
    test_reuse,
    test_clash,
    test_zones,
    test_fragments,
    test_segments,
    test_lifetime,
)


def _scenarios(module: ModuleType) -> Iterator[Scenario]:
    for name, function in vars(module).items():
        if name.startswith("test_") and [*inspect.signature(function).parameters] == ["lab"]:
            yield function


def _name(scenario: Scenario) -> str:
    return f"{scenario.__module__.rpartition('.test_')[2]}.{scenario.__name__.removeprefix('test_')}"


@pytest.fixture(scope="module")
def bcc_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One node for all: compiling takes its time."""
    with bcc_headers(tmp_path_factory.mktemp("bcc")):
        lab = Lab(Setup(loader="bcc"))
        yield lab
        lab.close()


@pytest.mark.parametrize("scenario", [one for module in MODULES for one in _scenarios(module)], ids=_name)
def test_scenario(scenario: Scenario, bcc_lab: Lab) -> None:
    bcc_lab.begin()
    scenario(bcc_lab)
