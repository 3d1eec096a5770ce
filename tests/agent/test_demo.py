"""``natlens demo`` tells the truth in one line and leaves nothing behind, also when it is interrupted."""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.kernel import Held, held, left
from tests.agent.process import NATLENS, clean_environment, wait_until

LINE = re.compile(r"demo: connections=(\d+) records=(\d+) wire_bytes=(\d+) recorded_bytes=(\d+) dropped=(\d+)")
END_S = 30.0
CAPTURING = "its agent captures"


class Demo:
    """A running demo, and everything that it and its children ever had."""

    def __init__(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [*NATLENS, "demo"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=clean_environment(TMPDIR=self.directory.name),
        )
        self.children: set[int] = set()
        self.objects: set[Held] = set()
        self.output = self.errors = ""
        self._reader = threading.Thread(target=self._communicate)
        self._reader.start()

    def _communicate(self) -> None:
        self.output, self.errors = self.process.communicate()

    def look(self) -> None:
        """Note its children and what they hold in the kernel."""
        for pid in _children(self.process.pid):
            self.children.add(pid)
            try:
                self.objects |= held(pid)
            except OSError:  # it ended meanwhile
                continue

    def namespaces(self) -> list[str]:
        return [one.name for one in Path("/run/netns").glob(f"nl{self.process.pid}-*")]

    def wait(self) -> int:
        """Return its exit status, when nobody can write to its output any more."""
        deadline = time.monotonic() + END_S
        while self._reader.is_alive():
            assert time.monotonic() < deadline, "the demo, or what it started, goes on"
            self.look()
            time.sleep(0.02)
        return self.process.returncode

    def check_gone(self) -> None:
        assert self.namespaces() == []
        assert [pid for pid in self.children if Path("/proc", str(pid)).exists()] == []
        assert list(Path(self.directory.name).iterdir()) == []
        wait_until(lambda: not left(self.objects), "the kernel has let go of programs, maps and links")

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # its children are in its group
            os.killpg(self.process.pid, signal.SIGKILL)
        self._reader.join()
        for name in self.namespaces():
            subprocess.run(["ip", "netns", "del", name], check=True)
        self.directory.cleanup()


def _children(pid: int) -> list[int]:
    try:
        tasks = [(task / "children").read_text() for task in Path("/proc", str(pid), "task").iterdir()]
    except OSError:
        return []
    return [int(child) for task in tasks for child in task.split()]


@pytest.fixture
def demo() -> Iterator[Demo]:
    running = Demo()
    yield running
    running.close()


def test_demo_holds_and_leaves_nothing(demo: Demo) -> None:
    assert demo.wait() == 0, demo.errors
    *table, line = demo.output.splitlines()
    match = LINE.fullmatch(line)
    assert match
    connections, records, wire, recorded, dropped = map(int, match.groups())
    assert connections == records >= 40
    assert (wire, dropped) == (recorded, 0)
    assert any("shop/web:80 ⇒ shop/web-" in row for row in table)
    assert {one.kind for one in demo.objects} == {"prog", "map", "link"}
    demo.check_gone()


def _namespaces(demo: Demo, count: int) -> bool:
    demo.look()
    return len(demo.namespaces()) >= count


@pytest.mark.parametrize("to_group", [True, False], ids=["terminal", "process"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["first namespace", "third namespace", CAPTURING])
def test_interrupted_demo_leaves_nothing(demo: Demo, number: int, moment: str, to_group: bool) -> None:
    if moment == CAPTURING:
        wait_until(lambda: _namespaces(demo, 8) and any(one.kind == "link" for one in demo.objects), moment)
    else:
        wait_until(lambda: _namespaces(demo, 1 if moment.startswith("first") else 3), moment)
    if to_group:
        os.killpg(demo.process.pid, number)
    else:
        demo.process.send_signal(number)
    assert demo.wait() == 128 + number, demo.errors
    assert "Traceback" not in demo.errors
    assert "natlens:" not in demo.errors.replace("natlens: INFO", "")
    demo.check_gone()
