"""How soon a thousand new interfaces are covered, and what it costs to keep the connections' state for a next agent."""

import os
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Literal

from natlens.config import Options
from natlens.flows.join import Carry
from natlens.flows.live import Live
from natlens.handover import State, pack
from natlens.health import Health
from natlens.kernel import bpffs
from natlens.kernel.capture import Capture
from natlens.ui.lab.namespaces import Namespace
from tests.agent.bpffs import mounted_bpffs
from tests.bench.figure import median_s, say, tell

__all__ = ["attached", "kept"]

PAIRS, CONNECTIONS = 1000, 100_000


def attached() -> None:
    """From 1,000 veths that are there at once to programs on both sides of each, by tcx and by clsact."""
    tell(f"{PAIRS:,} interfaces at once (60 s)")
    ways: tuple[tuple[Literal["auto", "clsact"], str], ...] = (
        ("auto", "attach_1000_s"),
        ("clsact", "attach_1000_clsact_s"),
    )
    for way, figure in ways:
        say(figure, _attach_s(way), "s")


def _attach_s(way: Literal["auto", "clsact"]) -> float:
    with ExitStack() as stack:
        node, pods = (Namespace(f"nlb{os.getpid()}-{end}") for end in (0, 1))
        stack.callback(pods.remove)
        stack.callback(node.remove)
        with node.enter():
            capture = stack.enter_context(closing(Capture(Options(attach=way), Health())))
            capture.refresh()
            lines = (f"link add v{number} type veth peer name v{number} netns {pods.name}" for number in range(PAIRS))
            node.ip("\n".join(lines))
            begin = time.perf_counter()
            capture.refresh()
            while len(capture.covered()) <= PAIRS:
                capture.refresh()
            took = time.perf_counter() - begin
            if capture.behind:
                _move(capture)
    return took


def _move(capture: Capture) -> None:
    """What waits moves to tcx."""
    begin = time.perf_counter()
    while capture.behind:
        capture.refresh()
    tell(f"all of them have a link after {time.perf_counter() - begin:.0f} s more")


def kept() -> None:
    """What `pin` adds to a report with 100,000 live connections."""
    tell("state of the connections, kept in bpffs")
    state = State(Carry(Live.zeros(CONNECTIONS)), [])
    with tempfile.TemporaryDirectory() as directory, mounted_bpffs(Path(directory)) as root:
        say("state_100k_s", median_s(lambda: bpffs.put_octets(pack(state), root / "state")), "s")
        say("state_100k_mib", sum(len(part) for part in pack(state)) / (1 << 20), "MiB")
