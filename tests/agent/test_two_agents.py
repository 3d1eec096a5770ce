"""Two agents in one namespace count the same."""

from pathlib import Path
from typing import Any

import pytest

from tests.agent.kernel import attached
from tests.agent.process import Agent
from tests.agent.shop import Shop, told

COUNTS = tuple(f"flow.{way}{what}.total" for way in ("", "reverse.") for what in ("bytes", "packets"))


def counts(agent: Agent, made: set[Any]) -> dict[Any, tuple[int, ...]]:
    found = [one["attributes"] for one in agent.records() if told(one["attributes"]) in made]
    assert len(found) == len(made)
    return {told(one): tuple(one[name] for name in COUNTS) for one in found}


@pytest.mark.parametrize("ways", [("tcx", "tcx"), ("clsact", "clsact"), ("tcx", "clsact")], ids="-".join)
def test_two_agents_count_the_same(shop: Shop, tmp_path: Path, ways: tuple[str, str]) -> None:
    before = attached(shop.namespace)
    first, second = (
        Agent(shop.namespace, tmp_path / str(number), "--interval=60", f"--attach={way}")
        for number, way in enumerate(ways)
    )
    with first, second:
        first.started()
        second.started()
        made = {one.original for one in shop.calls()}
        first.stop()
        second.stop()
    assert counts(first, made) == counts(second, made)
    assert attached(shop.namespace) == before
