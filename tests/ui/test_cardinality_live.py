"""``natlens cardinality`` of a node with real traffic: it ends by itself, and counts what was recorded."""

import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.kernel import attached
from tests.agent.process import NATLENS, clean_environment, wait_until
from tests.agent.shop import Shop
from tests.collector.records import RecordFile

from natlens.health import Health
from natlens.otlp.metrics.sets import SETS
from natlens.ui.stint import Stint

FOR_S, SLACK_S = 3.0, 20.0


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with Shop() as made:
        yield made


@pytest.fixture
def counting(shop: Shop, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run with the arguments of the test, which captures; it records into ``out``, too."""
    arguments = [shop.identity_file(tmp_path), f"--output={tmp_path / 'out'}", *request.param]
    with subprocess.Popen(
        ["nsenter", f"--net={shop.namespace.path}", *NATLENS, "cardinality", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as process:
        assert process.stderr
        assert "capturing for" in process.stderr.readline()
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def combinations(path: Path, name: str) -> set[tuple[object, ...]]:
    """Return what the records of a file have of a set."""
    found = set()
    for record in RecordFile(path).records():
        of = record["attributes"]
        role = "destination.nat" if "destination.nat.address" in of else "destination"
        if of.get("flow.primary", True):
            found.add(tuple(of.get(one.replace("flow.responder", role)) for one in SETS[name]))
    return found


@pytest.mark.parametrize("counting", [[f"--for={FOR_S:g}", "--interval=1", "--format=json"]], indirect=True)
def test_it_ends_by_itself_and_tells_what_there_was(
    counting: subprocess.Popen[str], shop: Shop, tmp_path: Path
) -> None:
    begin = time.monotonic()
    calls = list(shop.calls())
    out, err = counting.communicate(timeout=FOR_S + SLACK_S)
    assert (counting.returncode, FOR_S - 0.5 < time.monotonic() - begin < FOR_S + SLACK_S) == (0, True), err
    found = json.loads(out)
    assert found["counted"] >= len(calls)
    assert len(found["nodes"]) == 1
    for one in found["sets"]:
        assert one["distinct"] == len(combinations(tmp_path / "out", one["name"])), one
    backends = {one[1:4] for one in combinations(tmp_path / "out", "service-backend")}
    assert backends >= {("web", "shop", "web-1"), ("dns", "shop", "dns-1"), (None, "shop", "web-1")}
    assert re.fullmatch(rf"(natlens: \d+ of {FOR_S:g} s, \d+ records\n)+", err)
    assert attached(shop.namespace) == {}


@pytest.mark.parametrize("counting", [["--for=600"]], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_ends_it_sooner_is_told_what_there_was(counting: subprocess.Popen[str], shop: Shop, number: int) -> None:
    shop.call()
    counting.send_signal(number)
    out, err = counting.communicate(timeout=SLACK_S)
    assert (counting.returncode, err) == (0, "")
    assert re.match(r"\d+ records, [1-9]\d* of them count; 1 node; ", out)
    assert "service-backend" in out


def test_what_the_agent_cannot_do_is_its_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [*NATLENS, "cardinality", "--for=9", f"--output={tmp_path}"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    said = f"natlens: output {str(tmp_path)!r} cannot be written: Is a directory\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


def test_time_that_is_over_when_the_agent_has_just_ended_interrupts_nothing() -> None:
    health, before = Health(), (signal.getsignal(signal.SIGINT), threading.active_count())
    health.set("interfaces_covered", 1)
    with Stint(0.1, health):
        wait_until(lambda: threading.active_count() == before[1], "the time is over")
    assert (signal.getsignal(signal.SIGINT), threading.active_count()) == before


def test_interruption_before_the_agent_captures_is_one() -> None:
    before = signal.getsignal(signal.SIGINT), threading.active_count()
    with pytest.raises(KeyboardInterrupt), Stint(60, Health()):
        signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), threading.active_count()) == before
