"""However the agent ends, it leaves nothing, loses nothing that it could deliver, and lets other programs be."""

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from natlens.ui.lab.traffic import dial, exchange, talk
from tests.agent.kernel import Held, attached, held, left, other_agents
from tests.agent.process import Agent, wait_until
from tests.agent.shop import NODE_PORT, SERVICE, Shop, told
from tests.delivery.server import Ok, Receiver

GRACE_S, SLACK_S = 1.0, 2.0
UNREACHABLE = "http://127.0.0.1:9"  # nobody listens
FIRST = "protocol ip pref 1 u32 match ip dport 9 0xffff flowid 1:1"
KINDS = {"prog", "map"}

both = pytest.mark.parametrize("attach", ["tcx", "clsact"])


@pytest.fixture
def open_connection(shop: Shop) -> Iterator[socket.socket]:
    with dial(shop.client.namespace, (SERVICE, 80)) as client:
        yield client


def ours(agent: Agent, attach: str) -> set[Held]:
    """Return what the agent has in the kernel, and see that it is what it should have."""
    found = held(agent.pid)
    assert {one.kind for one in found} == KINDS | ({"link"} if attach == "tcx" else set())
    return found


def check_gone(objects: set[Held]) -> None:
    wait_until(lambda: not left(objects), "the kernel has let go of programs, maps and links")


@both
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_open_connections_get_their_last_record_and_nothing_stays(
    shop: Shop, open_connection: socket.socket, tmp_path: Path, attach: str, number: int
) -> None:
    before = attached(shop.namespace)
    with Agent(shop.namespace, tmp_path / "out", "--interval=60", f"--attach={attach}").started() as agent:
        exchange(open_connection, 1000)
        objects = ours(agent, attach)
        assert attached(shop.namespace) != before
        agent.signal(number)
        assert agent.wait() == 0
    check_gone(objects)
    assert attached(shop.namespace) == before
    port = open_connection.getsockname()[1]
    (last,) = (one["attributes"] for one in agent.records() if one["attributes"].get("source.port") == port)
    assert (last["flow.end_reason"], last["destination.nat.address"]) == ("forced_end", shop.web.ip)
    assert last["flow.bytes.total"] > 1000 < last["flow.reverse.bytes.total"]


def test_last_records_are_delivered_within_the_grace_period(shop: Shop, tmp_path: Path) -> None:
    with shop.namespace.enter(), Receiver([Ok(delay_s=GRACE_S)]) as server:
        options = "--interval=60", f"--endpoint={server.url}", "--shutdown-grace=10"
        with Agent(shop.namespace, tmp_path / "out", *options).started() as agent:
            port = shop.call()
            took = agent.stop()
        ports = {told(one["attributes"]).sport for one in agent.records()}
        assert port in ports
        assert len(server.records) == len(agent.records())
    assert GRACE_S <= took < GRACE_S + SLACK_S


@pytest.mark.parametrize("answers", [True, False], ids=["slow", "unreachable"])
def test_endpoint_that_takes_nothing_does_not_hold_it(shop: Shop, tmp_path: Path, answers: bool) -> None:
    with shop.namespace.enter(), Receiver([Ok(delay_s=60)] * 9) as server:
        options = f"--endpoint={server.url if answers else UNREACHABLE}", f"--shutdown-grace={GRACE_S}"
        with Agent(shop.namespace, tmp_path / "out", "--interval=0.2", *options).started() as agent:
            shop.call()
            wait_until(agent.records, "a record that cannot be delivered")
            took = agent.stop()
    assert took < GRACE_S + SLACK_S
    assert f"records_dropped{{reason=shutdown}}={len(agent.records())}" in agent.lines("stopped:")[0]


@both
def test_killed_agent_leaves_nothing_that_the_next_does_not_clean(shop: Shop, tmp_path: Path, attach: str) -> None:
    before = attached(shop.namespace)
    with Agent(shop.namespace, tmp_path / "killed", f"--attach={attach}").started() as agent:
        objects = ours(agent, attach)
        agent.kill()
    if attach == "tcx":  # a link goes with its process
        check_gone(objects)
        assert attached(shop.namespace) == before
    else:
        assert left(objects)
    with Agent(shop.namespace, tmp_path / "out", "--interval=60", f"--attach={attach}").started() as agent:
        check_gone(objects)
        port = shop.call()
        agent.stop()
    assert [told(one["attributes"]).sport for one in agent.records()].count(port) == 1
    assert attached(shop.namespace) == before


@both
@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_other_programs_survive(shop: Shop, tmp_path: Path, attach: str, end: str) -> None:
    with other_agents(shop.namespace) as before:
        with Agent(shop.namespace, tmp_path / "first", "--interval=60", f"--attach={attach}").started() as agent:
            port = shop.call()
            during = attached(shop.namespace)
            assert during != before
            assert {place: [one for one in what if one in before[place]] for place, what in during.items()} == before
            if end == "stopped":
                agent.stop()
                assert port in {told(one["attributes"]).sport for one in agent.records()}
            else:
                agent.kill()
        with Agent(shop.namespace, tmp_path / "second", f"--attach={attach}").started() as agent:
            agent.stop()
        assert attached(shop.namespace) == before


def test_filter_that_cannot_share_a_priority_keeps_its_own(shop: Shop, tmp_path: Path) -> None:
    shop.namespace.run("tc", "qdisc", "replace", "dev", "eth0", "clsact")
    shop.namespace.run("tc", "filter", "add", "dev", "eth0", "ingress", *FIRST.split())
    before = attached(shop.namespace)
    with Agent(shop.namespace, tmp_path / "out", "--interval=60", "--attach=clsact").started() as agent:
        port = talk(shop.outside.namespace, (shop.node.ip, NODE_PORT))
        assert "eth0: ingress: another program's filters come first (priority 1)" in agent.lines("WARNING")[0]
        agent.stop()
    assert [told(one["attributes"]).sport for one in agent.records()].count(port) == 1
    assert attached(shop.namespace) == before
    shop.namespace.run("tc", "filter", "del", "dev", "eth0", "ingress", "pref", "1")


def test_killed_agents_filters_go_even_where_the_next_attaches_by_tcx(shop: Shop, tmp_path: Path) -> None:
    before = attached(shop.namespace)
    with Agent(shop.namespace, tmp_path / "killed", "--attach=clsact").started() as agent:
        objects = ours(agent, "clsact")
        agent.kill()
    with Agent(shop.namespace, tmp_path / "out", "--attach=tcx").started() as agent:
        check_gone(objects)
        agent.stop()
    assert attached(shop.namespace) == before


def test_second_signal_does_not_cut_the_flush_short(shop: Shop, tmp_path: Path) -> None:
    with shop.namespace.enter(), Receiver([Ok(delay_s=GRACE_S)]) as server:
        options = "--interval=60", f"--endpoint={server.url}"
        with Agent(shop.namespace, tmp_path / "out", *options).started() as agent:
            shop.call()
            for _ in range(3):
                agent.signal(signal.SIGTERM)
                time.sleep(0.1)
            assert agent.wait() == 0
        assert len(server.records) == len(agent.records()) > 0


@both
def test_signal_at_any_moment_of_the_start_leaves_nothing(shop: Shop, tmp_path: Path, attach: str) -> None:
    before = attached(shop.namespace)
    ends = set()
    for tenths in range(1, 9):
        with Agent(shop.namespace, tmp_path / "out", f"--attach={attach}") as agent:
            time.sleep(tenths / 10)
            agent.signal(signal.SIGTERM)
            ends.add(agent.wait())
            assert agent.lines("Traceback") == []
        assert attached(shop.namespace) == before
    assert ends <= {0, -signal.SIGTERM}
