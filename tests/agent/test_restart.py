"""Counts go on while no agent runs: over restarts and kills with `pin`, what records say is what passed the wire."""

import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from natlens.kernel import libbpf
from natlens.ui.lab.node import Pod
from natlens.ui.lab.packets import TCP, Directed
from natlens.ui.lab.traffic import dial, exchange, talk, udp_socket
from natlens.ui.lab.wire import Count, Wire
from tests.agent.bpffs import mounted_bpffs
from tests.agent.kernel import attached, devices, held, other_agents, program
from tests.agent.process import NATLENS, Agent, clean_environment, wait_until
from tests.agent.shop import DNS, SERVICE, Shop, told

both = pytest.mark.parametrize("attach", ["tcx", "clsact"])
ANOTHER = "maps_000000000000_1"


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "bpf").mkdir()
    with mounted_bpffs(tmp_path / "bpf") as path:
        yield path


def options(bpffs: Path, attach: str = "auto", *, pin: bool = True, interval: float = 60) -> list[str]:
    return [f"--interval={interval}", f"--attach={attach}", f"--pin-path={bpffs}/natlens", *(["--pin"] if pin else [])]


def directory(bpffs: Path) -> Path:
    """Return the directory of the one network namespace."""
    (found,) = (bpffs / "natlens").iterdir()
    return found


def detach(shop: Shop, bpffs: Path) -> subprocess.CompletedProcess[str]:
    command = "nsenter", f"--net={shop.namespace.path}", *NATLENS, "detach", f"--pin-path={bpffs}/natlens"
    return subprocess.run(command, capture_output=True, text=True, env=clean_environment(), check=False)


@contextmanager
def busy(shop: Shop, wire: Wire) -> Iterator[Counter[str]]:
    """Keep long connections busy, and make short ones one after another; yields how many turns each kind took."""
    stop, turns = threading.Event(), Counter[str]()
    client = shop.client.namespace

    def stream(name: str) -> None:
        with dial(client, (SERVICE, 80)) as connection:
            while not stop.wait(0.002):
                exchange(connection, 3000)
                turns[name] += 1

    def short() -> None:
        while not stop.wait(0.01):
            talk(client, (SERVICE, 80), 200)
            turns["short"] += 1

    def datagrams() -> None:
        with udp_socket(client, (DNS, 53)) as resolver:
            while not stop.wait(0.005):
                exchange(resolver, 64)
                turns["datagrams"] += 1

    workers = [threading.Thread(target=stream, args=(f"stream{number}",)) for number in (1, 2)]
    workers += [threading.Thread(target=short), threading.Thread(target=datagrams)]
    for worker in workers:
        worker.start()
    try:
        yield turns
    finally:
        stop.set()
        for worker in workers:
            worker.join()
        wire.settle()


def goes_on(turns: Counter[str], times: int = 20) -> None:
    """Wait until every kind of traffic has made some more turns."""
    before = Counter(turns)
    wait_until(
        lambda: all(turns[kind] >= before[kind] + times for kind in ("stream1", "stream2", "short", "datagrams")),
        "turns",
    )


def by_tuple(agents: list[Agent]) -> dict[Directed, Count]:
    """Return what the records of all agents add up to, by directed tuple as dialled."""
    sums: dict[Directed, Count] = {}
    for agent in agents:
        for record in agent.records():
            one = record["attributes"]
            for way, directed in (("", told(one)), ("reverse.", told(one).turned())):
                count = Count(one[f"flow.{way}bytes.delta"], one[f"flow.{way}packets.delta"])
                sums[directed] = sums.get(directed, Count()) + count
    return {directed: count for directed, count in sums.items() if count.packets}


def on_the_wire(wire: Wire, pod: Pod) -> dict[Directed, Count]:
    return {one: count for one, count in wire.counts(pod.name).items() if ":" not in one.src}


def series(agents: list[Agent]) -> dict[str, list[dict[str, Any]]]:
    """Return the records of each flow.id in the order in which they were written."""
    found: dict[str, list[dict[str, Any]]] = {}
    for agent in agents:
        for record in agent.records():
            found.setdefault(record["attributes"]["flow.id"], []).append(record["attributes"])
    return found


def check_exact(shop: Shop, wire: Wire, agents: list[Agent]) -> None:
    wire.verify()
    recorded = {one: count for one, count in by_tuple(agents).items() if ":" not in one.src}
    seen = on_the_wire(wire, shop.client)
    ours = {one: count for one, count in recorded.items() if shop.client.ip in (one.src, one.dst)}
    assert ours == seen


def check_names(agents: list[Agent]) -> None:
    """Every connection has one name for life: numbered without a gap, totals that go on."""
    for records in series(agents).values():
        assert [one["flow.sequence"] for one in records] == list(range(len(records)))
        assert len({(one["flow.start_time"], told(one)) for one in records}) == 1
        assert records[-1]["flow.bytes.total"] == sum(one["flow.bytes.delta"] for one in records)
    dialled = Counter(told(records[0]) for records in series(agents).values())
    assert set(dialled.values()) == {1}, "a connection with two names"


def end(agent: Agent, how: str) -> None:
    if how == "stopped":
        agent.stop()
    else:
        agent.kill()


def reported(bpffs: Path, agent: Agent) -> None:
    """Wait until a report is over: its records are written and what is left to say is kept."""
    state = directory(bpffs) / "state"
    wait_until(state.exists, "the first report")
    before = state.stat().st_ino
    wait_until(lambda: agent.records() and state.stat().st_ino != before, "the next report")


@both
@pytest.mark.parametrize("ends", [("stopped", "killed"), ("killed", "stopped")], ids="-".join)
def test_restarts_under_traffic_lose_nothing(
    shop: Shop, tmp_path: Path, bpffs: Path, attach: str, ends: tuple[str, str]
) -> None:
    before, wire, agents = attached(shop.namespace), Wire(), []
    with Agent(shop.namespace, tmp_path / "0", *options(bpffs, attach, interval=1)) as agent:
        agents.append(agent.started())
        during = {place: len(what) for place, what in attached(shop.namespace).items()}
        wire.tap(shop.client.name, shop.client.namespace)
        with busy(shop, wire) as turns:
            goes_on(turns)
            reported(bpffs, agent)
            for number, how in enumerate(ends, 1):
                end(agents[-1], how)
                assert {place: len(what) for place, what in attached(shop.namespace).items()} == during
                goes_on(turns)
                agents.append(
                    Agent(shop.namespace, tmp_path / str(number), *options(bpffs, attach, interval=1)).started()
                )
                assert agents[-1].lines("going on where another agent ended")
                goes_on(turns)
                reported(bpffs, agents[-1])
        end(agents[-1], "stopped")
        with Agent(shop.namespace, tmp_path / "last", *options(bpffs, attach, pin=False)).started() as last:
            last.stop()
    agents.append(last)
    assert attached(shop.namespace) == before
    assert list((bpffs / "natlens").iterdir()) == []
    check_exact(shop, wire, agents)
    check_names(agents)
    wire.close()


@pytest.mark.parametrize("source", ["fentry", "kprobe", "ctnetlink"])
def test_other_sources_of_nat_end_with_the_agent_and_nothing_is_lost_or_counted_twice(
    shop: Shop, tmp_path: Path, bpffs: Path, source: str
) -> None:
    """What began while nobody heard is read from conntrack: each connection is told of once, by its Service."""
    by, wire, agents = f"--nat-source={source}", Wire(), list[Agent]()
    with Agent(shop.namespace, tmp_path / "0", by, *options(bpffs, interval=1)) as first:
        if not first.can_capture():
            pytest.skip(first.said[-1])
        agents.append(first)
        wire.tap(shop.client.name, shop.client.namespace)
        with busy(shop, wire) as turns:
            goes_on(turns)
            reported(bpffs, first)
            first.kill()
            goes_on(turns)
            agents.append(Agent(shop.namespace, tmp_path / "1", by, *options(bpffs, pin=False)).started())
            goes_on(turns)
    agents[-1].stop()
    check_exact(shop, wire, agents)
    check_names(agents)
    dialled = {told(one["attributes"]).dst for agent in agents for one in agent.records()}
    assert {one for one in dialled if ":" not in one} == {SERVICE, DNS}
    wire.close()


def test_killed_before_its_first_report(shop: Shop, tmp_path: Path, bpffs: Path) -> None:
    wire = Wire()
    with ExitStack() as stack:
        first = stack.enter_context(Agent(shop.namespace, tmp_path / "first", *options(bpffs)).started())
        wire.tap(shop.client.name, shop.client.namespace)
        with busy(shop, wire) as turns:
            goes_on(turns)
            first.kill()
            goes_on(turns)
            second = stack.enter_context(
                Agent(shop.namespace, tmp_path / "second", *options(bpffs, pin=False)).started()
            )
            goes_on(turns)
        second.stop()
    assert first.records() == []
    check_exact(shop, wire, [second])
    wire.close()


@both
def test_replacing_a_version_with_other_maps_is_said(shop: Shop, tmp_path: Path, bpffs: Path, attach: str) -> None:
    with Agent(shop.namespace, tmp_path / "first", *options(bpffs, attach)).started() as first:
        first.stop()
    (maps,) = directory(bpffs).glob("maps_*")
    maps.rename(maps.with_name(ANOTHER))
    shop.call()
    with Agent(shop.namespace, tmp_path / "second", *options(bpffs, attach)).started() as second:
        line = second.wait_for("WARNING")
        port = shop.call()
        second.stop()
    (again,) = directory(bpffs).glob("maps_*")
    with Agent(shop.namespace, tmp_path / "last", *options(bpffs, attach, pin=False)).started() as last:
        last.stop()
    assert "another version of natlens left maps of another layout: replaced by this version's; lost:" in line
    assert again.name == maps.name.rpartition("_")[0] + "_2"
    assert [told(one["attributes"]).sport for one in (*second.records(), *last.records())].count(port) == 1


@both
def test_order_of_other_programs_is_kept(shop: Shop, tmp_path: Path, bpffs: Path, attach: str) -> None:
    with other_agents(shop.namespace) as before, program() as fd:
        with Agent(shop.namespace, tmp_path / "first", *options(bpffs, attach)).started() as first:
            index = devices(shop.namespace)["eth0"]
            with shop.namespace.enter():
                foreign = libbpf.link_tcx(fd, index, libbpf.BPF_TCX_INGRESS)  # comes before ours
            between = attached(shop.namespace)
            ours = {f"tcx {one.number}" for one in held(first.pid) if one.kind == "prog"}
            first.kill()
        assert attached(shop.namespace) == between
        with Agent(shop.namespace, tmp_path / "second", *options(bpffs, attach)).started() as second:
            replaced = {f"tcx {one.number}" for one in held(second.pid) if one.kind == "prog"}
            after = attached(shop.namespace)
            second.stop()

        def shown(what: list[str], programs: set[str]) -> list[str]:
            return ["ours" if one in programs or "natlens" in one else one for one in what]

        assert {place: shown(what, replaced) for place, what in after.items()} == {
            place: shown(what, ours) for place, what in between.items()
        }
        if attach == "tcx":
            assert [shown([one], ours) == ["ours"] for one in between["eth0 ingress"]][:3] == [False, True, False]
        os.close(foreign)
        assert detach(shop, bpffs).returncode == 0
        assert attached(shop.namespace) == before


def test_way_of_attaching_may_change(shop: Shop, tmp_path: Path, bpffs: Path) -> None:
    before, ports = attached(shop.namespace), []
    for attach in ("tcx", "clsact", "tcx"):
        with Agent(shop.namespace, tmp_path / "out", *options(bpffs, attach)).started() as agent:
            now = {place: {one.split()[0] for one in what} for place, what in attached(shop.namespace).items()}
            assert set().union(*now.values()) == {"tcx" if attach == "tcx" else "tc"}
            ports.append(shop.call())
            agent.stop()
    with Agent(shop.namespace, tmp_path / "out", *options(bpffs, pin=False)).started() as last:
        last.stop()
    assert attached(shop.namespace) == before
    said = Counter(told(one["attributes"]).sport for one in last.records())  # of all: they share the file
    assert [said[port] for port in ports] == [1, 1, 1]


@both
def test_detach_removes_everything_and_says_so(shop: Shop, tmp_path: Path, bpffs: Path, attach: str) -> None:
    before = attached(shop.namespace)
    with Agent(shop.namespace, tmp_path / "out", *options(bpffs, attach)).started() as agent:
        refused = detach(shop, bpffs)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "a natlens agent with pin runs in this network namespace: stop it first" in refused.stderr
        during = attached(shop.namespace)
        agent.stop()
    assert attached(shop.namespace) == during != before
    done = detach(shop, bpffs)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"removed {len(during)} {'tcx links' if attach == 'tcx' else 'clsact filters'}\n" in done.stdout
    assert "pinned maps" in done.stdout
    assert attached(shop.namespace) == before
    assert list(bpffs.glob("natlens*")) == []
    again = detach(shop, bpffs)
    assert (again.returncode, again.stdout) == (0, "nothing of natlens is attached or pinned here\n")


def test_detach_clears_filters_of_a_killed_agent_and_leaves_a_running_one(
    shop: Shop, tmp_path: Path, bpffs: Path
) -> None:
    before = attached(shop.namespace)
    with Agent(shop.namespace, tmp_path / "runs", "--attach=clsact", "--interval=60").started() as runs:
        with Agent(shop.namespace, tmp_path / "dies", "--attach=clsact").started() as dies:
            dies.kill()
        assert "clsact filters" in detach(shop, bpffs).stdout
        port = shop.call()
        runs.stop()
    assert [told(one["attributes"]).sport for one in runs.records()].count(port) == 1
    assert attached(shop.namespace) == before


def test_second_agent_that_pins_says_why_it_ends(shop: Shop, tmp_path: Path, bpffs: Path) -> None:
    def recorded(agent: Agent) -> bool:
        return [told(one["attributes"]).sport for one in agent.records()].count(port) == 1

    with Agent(shop.namespace, tmp_path / "first", *options(bpffs, interval=0.5)).started() as first:
        with Agent(shop.namespace, tmp_path / "second", *options(bpffs)) as second:
            assert second.wait() == 1
            assert second.said[-1].startswith(
                "natlens: pin: another natlens agent with pin runs in this network namespace"
            )
        with Agent(shop.client.namespace, tmp_path / "elsewhere", *options(bpffs)).started() as elsewhere:
            assert len(list((bpffs / "natlens").iterdir())) == 2
            elsewhere.stop()
        with Agent(shop.namespace, tmp_path / "third", *options(bpffs, pin=False)).started() as third:
            port = shop.call()
            third.stop()
        wait_until(lambda: recorded(first), "the call in its records")  # else it is the successor's to report
        first.stop()
    assert recorded(first)
    assert recorded(third)
    assert "belongs to another network namespace: run natlens detach in it" in detach(shop, bpffs).stdout


def test_pin_without_bpffs(shop: Shop, tmp_path: Path) -> None:
    with Agent(shop.namespace, tmp_path / "out", "--pin", f"--pin-path={tmp_path}/natlens") as agent:
        assert agent.wait() == 2
    assert "is not in a BPF file system, which pin needs: mount one (mount -t bpf bpf /sys/fs/bpf" in agent.said[-1]
    assert f"pin_path is '{tmp_path}/natlens'" in agent.said[-1]


def test_what_is_left_goes_on_under_an_interface_that_is_gone(shop: Shop, tmp_path: Path, bpffs: Path) -> None:
    pod = shop.node.pod("brief")
    with Agent(shop.namespace, tmp_path / "first", *options(bpffs)).started() as first:
        exchange_port = talk(pod.namespace, (SERVICE, 80))
        first.kill()
    shop.namespace.run("ip", "link", "del", pod.device)
    with Agent(shop.namespace, tmp_path / "second", *options(bpffs, pin=False)).started() as second:
        second.stop()
    (record,) = (one["attributes"] for one in second.records() if told(one["attributes"]).sport == exchange_port)
    assert told(record) == Directed(pod.ip, exchange_port, SERVICE, 80, TCP)
    assert record["flow.connection.state"] == "closed"


def test_signal_number_that_ends_it_matters_not(shop: Shop, tmp_path: Path, bpffs: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with Agent(shop.namespace, tmp_path / "out", *options(bpffs)).started() as agent:
            agent.signal(number)
            assert agent.wait() == 0
        assert (directory(bpffs) / "state").exists()
    assert detach(shop, bpffs).returncode == 0
