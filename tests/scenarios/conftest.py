"""One node a setup for the whole session: scenarios share it and begin with :meth:`Lab.begin`."""

from collections.abc import Callable, Iterator

import pytest

pytest.register_assert_rewrite("tests.scenarios.harness")

from tests.scenarios.harness import Lab, Setup  # noqa: E402  # what comes before makes its assertions tell why

TCX, CLSACT = Setup("tcx", "nftables"), Setup("clsact", "iptables")
FULL = [TCX, CLSACT, Setup("tcx", "iptables"), Setup("clsact", "nftables")]


@pytest.fixture(scope="session")
def labs() -> Iterator[Callable[[Setup], Lab]]:
    made: dict[Setup, Lab] = {}

    def lab(setup: Setup) -> Lab:
        if setup not in made:
            made[setup] = Lab(setup)
        return made[setup]

    yield lab
    for one in made.values():
        one.close()


@pytest.fixture(params=[TCX, CLSACT], ids=str)
def lab(request: pytest.FixtureRequest, labs: Callable[[Setup], Lab]) -> Lab:
    """A node that begins anew, by one setup or the other."""
    one = labs(request.param)
    one.begin()
    return one
