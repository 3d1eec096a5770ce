"""How one agent goes on where another ended (ADR 15): what it finds pinned, and what it leaves."""

import json
import logging
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from natlens.config import Options
from natlens.health import Health
from natlens.kernel.filters import pinned_filters
from natlens.kernel.libbpf import Object
from natlens.kernel.pinning import Left, Pins
from natlens.kernel.tc import TrafficControl
from natlens.kernel.windows import Window

__all__ = ["Inheritance", "Succession"]

log = logging.getLogger(__name__)

HEAD = struct.Struct("=Q")  # octets of the JSON that follows; the agent's own state comes after it
OTHER_LAYOUT = (
    "pin: another version of natlens left maps of another layout: replaced by this version's; "
    "lost: what was counted since that agent's last report"
)


class Inheritance(NamedTuple):
    """What an agent left: windows that were not reported, and its state (see :meth:`Succession.leave`)."""

    windows: list[Window]
    state: bytes | None
    names: dict[int, str]
    """ifindex → name, of the interfaces that it knew."""


NOTHING = Inheritance([], None, {})


class Succession:
    """One agent's place between the one before and the next."""

    def __init__(self, options: Options, loaded: Object) -> None:
        """Find out what was left; pin the maps where that is wanted. Raises ConfigError and KernelError."""
        self.pins = Pins(Path(options.pin_path), keep=options.pin)
        if not options.pin and not self._anything():
            self.pins.close()  # nothing to take over: others may pin here
        if options.pin:
            self.pins.pin_maps(loaded)

    def _anything(self) -> bool:
        if os.path.exists(self.pins.path):  # noqa: PTH110  # Path.exists() raises where it may not look
            return True
        with TrafficControl() as tc:
            return bool(pinned_filters(tc))

    def inherit(self, wait: Callable[[], None], health: Health) -> Inheritance:
        """Return what was left, and remove it; ``wait`` returns when no program of before runs any more."""
        left = [one for one in self.pins.left() if one.complete]
        head, state = _split(self.pins.recall())
        if not self.pins.held:
            return NOTHING
        if left:
            wait()
        windows = []
        for one in left:
            if not one.readable:
                log.warning(OTHER_LAYOUT)
                continue
            windows += self._read(one, head, health)
        self.pins.clear(everything=not self.pins.keep)
        if windows:
            rows = sum(len(window.rows) for window in windows)
            log.info("going on where another agent ended: %d rows were counted since its last report", rows)
        return Inheritance(windows, state, {int(index): name for index, name in head.get("names", {}).items()})

    @staticmethod
    def _read(left: Left, head: Mapping[str, Any], health: Health) -> list[Window]:
        windows = left.windows()
        seen = head.get("seen", {}) if head.get("maps") == left.path.name else {}
        for name, value in windows[0].counters.items():
            health.add(f"kernel_{name}", value - seen.get(name, 0))
        return windows

    def leave(self, seen: Mapping[str, int], names: Mapping[int, str], state: Sequence[bytes | memoryview]) -> None:
        """Keep for the next agent what this one knows: counters as reported, interfaces' names, octets of its own."""
        if self.pins.own is None:
            return
        head = json.dumps({"maps": self.pins.own.name, "seen": dict(seen), "names": dict(names)}).encode()
        self.pins.remember(HEAD.pack(len(head)), head, *state)

    def close(self) -> None:
        """Let the next agent take over."""
        self.pins.close()


def _split(octets: bytes | None) -> tuple[dict[str, Any], bytes | None]:
    if octets is None:
        return {}, None
    (length,) = HEAD.unpack_from(octets)
    return json.loads(octets[HEAD.size : HEAD.size + length]), octets[HEAD.size + length :]
