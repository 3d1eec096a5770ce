"""Other agents' programs in front of ours and behind, there before or put there meanwhile: none moves."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from natlens.kernel import libbpf
from natlens.kernel.netlink import route_socket
from tests.agent.kernel import PARENTS, SIDES, Held, attached, devices, held, other_agents, program, tcx_behind
from tests.agent.process import Agent
from tests.agent.shop import Shop, told

PRIORITIES = 1, 900  # of bpf filters that come late: the first goes to the head of its priority
Places = dict[str, list[str]]

both = pytest.mark.parametrize("attach", ["tcx", "clsact"])


def without(places: Places, objects: set[Held]) -> Places:
    """Return what stands where, natlens' own left out."""
    ours = {f"tcx {one.number}" for one in objects if one.kind == "prog"}
    left = {place: [one for one in what if not is_ours(one, ours)] for place, what in places.items()}
    return {place: what for place, what in left.items() if what}


def is_ours(one: str, programs: set[str]) -> bool:
    return one in programs or "natlens" in one


@contextmanager
def latecomers(shop: Shop) -> Iterator[None]:
    """Put more programs on every interface: at head and tail of the tcx chain, filters first and last."""
    with ExitStack() as stack:
        first, last = stack.enter_context(program()), stack.enter_context(program())
        with shop.namespace.enter():
            route = stack.enter_context(route_socket())
        for index in devices(shop.namespace).values():
            for side, kind in SIDES.items():
                with shop.namespace.enter():
                    stack.callback(os.close, libbpf.link_tcx(first, index, kind))
                    stack.callback(os.close, tcx_behind(last, index, side))
                for fd, priority in zip((first, last), PRIORITIES, strict=True):
                    where = {"parent": PARENTS[side], "prio": priority, "direct_action": True}
                    route.tc("add-filter", "bpf", index, 0x7000 + priority, fd=fd, name="late", **where)
        yield


@both
@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_nobody_loses_a_place(shop: Shop, tmp_path: Path, attach: str, end: str) -> None:
    with (
        other_agents(shop.namespace) as before,
        Agent(shop.namespace, tmp_path / "out", "--interval=60", f"--attach={attach}").started() as agent,
    ):
        objects = held(agent.pid)
        alone = attached(shop.namespace)
        assert without(alone, objects) == before
        with latecomers(shop):
            crowded = attached(shop.namespace)
            assert {place: [one for one in what if one in alone[place]] for place, what in crowded.items()} == alone
            check_between(crowded["eth0 ingress"], objects, attach)
            port = shop.call()
            if end == "killed":
                agent.kill()
            else:
                agent.stop()
                assert [told(one["attributes"]).sport for one in agent.records()].count(port) == 1
            with Agent(shop.namespace, tmp_path / "next", f"--attach={attach}").started() as following:
                following.stop()
            assert attached(shop.namespace) == without(crowded, objects)


def check_between(places: list[str], objects: set[Held], attach: str) -> None:
    """See that others stand in front of ours and behind it, on the same anchor."""
    ours = {f"tcx {one.number}" for one in objects if one.kind == "prog"}
    anchor = [is_ours(one, ours) for one in places if one.startswith("tcx ") == (attach == "tcx")]
    assert anchor.count(True) == 1
    assert 0 < anchor.index(True) < len(anchor) - 1
