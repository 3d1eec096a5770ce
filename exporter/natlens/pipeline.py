"""What goes on while the agent runs: capture → join → names → records → outlets, once an interval."""

import logging
import selectors
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from natlens.config import Options
from natlens.errors import KernelError
from natlens.exports import Exports
from natlens.flows.join import Carry, join
from natlens.flows.live import Live
from natlens.flows.oneway import unexplained
from natlens.flows.report import Limits
from natlens.flows.selection import Selection
from natlens.flows.told import translations_of
from natlens.handover import State, pack, unpack
from natlens.health import Health
from natlens.identity.endpoint import Identity
from natlens.identity.naming import FourEnds, name_ends
from natlens.identity.standing import Standing
from natlens.identity.waiting import Interval, Waiting
from natlens.kernel import conntrack
from natlens.kernel.capture import Capture
from natlens.kernel.ctevents import Events
from natlens.kernel.memory import give_back
from natlens.kernel.windows import TRANSLATIONS, Window
from natlens.otlp.batch import Batch
from natlens.telemetry.tallies import tally_connections, tally_ends

__all__ = ["Names", "Pipeline", "limits", "take"]

log = logging.getLogger(__name__)

SECOND = 1_000_000_000
WAKING_NS = 50_000_000  # what it may take this thread to be woken
COLLECT_S = 15.0
LOOK_S = 0.05  # how often is looked whether there are names yet
RESYNCED = 500_000  # entries that are read at most where events were lost
ASKED = 500  # tuples a window that ctnetlink is asked for: a scan must not stop the agent (50 µs each)


class Bell(Protocol):
    """A descriptor that is readable while there is something to hear."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...

    def hear(self, quiet_ns: int | None = None) -> None:
        """Take what there is, and was not yet at ``quiet_ns`` (Unix time) if that is known."""
        ...


class Names(Identity, Protocol):
    """An identity source that can be brought up to date once an interval."""

    @property
    def ready(self) -> bool:
        """Whether there are names at all; records wait until then."""
        ...

    def refresh(self) -> bool:
        """Read anew what changed."""
        ...

    def standing(self, connections: npt.NDArray[np.void], ends: FourEnds) -> Standing | None:
        """Return where this node stands towards connections with these ends; None if it is not known to be a node."""
        ...

    def observer(self) -> Mapping[str, str]:
        """Return what is known of the node: fields of :class:`~natlens.otlp.resource.Observer`."""
        ...

    @property
    def bells(self) -> Sequence[Bell]:
        """Return what rings when something changed that must be heard at once."""
        ...

    def close(self) -> None:
        """Stop asking."""
        ...


def limits(options: Options) -> Limits:
    """Return the join's limits, in ns."""
    return Limits(
        idle_ns=int(options.idle_timeout * SECOND),
        tcp_idle_ns=int(options.tcp_idle_timeout * SECOND),
        settle_ns=int(options.settle * SECOND),
        max_connections=options.max_connections,
    )


def take(capture: Capture, carry: Carry, health: Health) -> Window:
    """Close the window, and ask ctnetlink for what its own packets do not explain."""
    window, events = capture.take(), capture.source.events
    if events:
        window = _with_events(window, carry, events, health)
    every = events is not None or not capture.looks_up
    return explain(window, carry, health, every=every, sampling=capture.controls.sampling)


def explain(window: Window, carry: Carry, health: Health, *, every: bool = False, sampling: int = 1) -> Window:
    """Ask ctnetlink for what the window's own packets do not explain."""
    tuples = unexplained(window, carry, every=every, sampling=sampling)
    health.add("conntrack_not_asked", max(len(tuples) - ASKED, 0))
    if not len(tuples):
        return window
    try:
        answers = conntrack.ask(tuples[:ASKED], window.end_ns)
    except KernelError:
        health.add("conntrack_not_asked", min(len(tuples), ASKED))
        return window
    return replace(window, translations=np.concatenate([window.translations, answers]))


def _with_events(window: Window, carry: Carry, events: Events, health: Health) -> Window:
    """Return the window with what conntrack's events told; where some were lost, with all that conntrack knows."""
    told = events.take()
    live = carry.live if events.translated else Live.zeros(0)  # a hook tells itself of what goes on
    translations, again = translations_of(told.events, window, live)
    events.tell_again(again)
    parts = [window.translations, translations]
    if told.overruns:
        health.add("conntrack_overruns", told.overruns)
        parts.append(_older(RESYNCED))
    return replace(window, translations=np.concatenate(parts))


def _older(limit: int) -> npt.NDArray[np.void]:
    """Return the conntrack entries that are there before the first packet is seen."""
    try:
        return conntrack.dump(time.monotonic_ns(), limit)
    except KernelError as error:
        log.warning("%s Lost: NAT and initiator of connections older than this agent, until a packet tells", error)
        return np.zeros(0, TRANSLATIONS)


class Beat:
    """What is due every ``period_s``; when it was late the next one is not early."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self.start()

    def start(self) -> None:
        """Count from now."""
        self.due = time.monotonic() + self._period_s

    def passed(self) -> bool:
        """Tell whether it is due; then the next one is awaited."""
        if (now := time.monotonic()) < self.due:
            return False
        self.due = max(self.due + self._period_s, now)
        return True


class Pipeline:
    """One agent. Its concurrent tasks: this loop, and one thread in each sending outlet."""

    def __init__(
        self,
        options: Options,
        capture: Capture,
        names: Names,
        exports: Exports,
        health: Health,
        collect_s: float = COLLECT_S,
    ) -> None:
        self._options, self._capture, self._names = options, capture, names
        self._exports, self._health = exports, health
        self._reports, self._collections = Beat(options.interval), Beat(collect_s)
        self._limits = limits(options)
        self._selection = Selection(capture.controls.rules, options.sampling, capture.controls.interfaces)
        self._carry = Carry()
        self._known = np.zeros(0, TRANSLATIONS)
        self._waiting = Waiting()
        self._waker, self._awake = socket.socketpair()
        self._waker.setblocking(False)

    def stop(self) -> None:
        """Make :meth:`run` flush and return; may be called from a signal handler or another thread."""
        self._waker.send(b"\0")

    def close(self) -> None:
        """Let go of what :meth:`stop` needs; nothing calls it after this."""
        self._waker.close()
        self._awake.close()

    def run(self) -> None:
        """Attach, then report every interval until :meth:`stop`; the last window is flushed."""
        self._capture.refresh()
        self._known = _older(self._options.max_connections)
        self._go_on()
        log.info(
            "capturing on %d interfaces by %s, NAT by %s, reporting every %g s",
            self._health.snapshot().get("interfaces_covered", 0),
            self._capture.attached_by,
            self._capture.source.name,
            self._options.interval,
        )
        self._health.set("capturing", 1)
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._awake, selectors.EVENT_READ)
            waiting.register(self._capture.bell, selectors.EVENT_READ)
            for bell in self._names.bells:
                waiting.register(bell, selectors.EVENT_READ)
            self._loop(waiting)
        self._finish()

    def _loop(self, waiting: selectors.BaseSelector) -> None:
        self._reports.start()
        self._collections.start()
        quiet_ns = time.time_ns()
        while True:
            ready, quiet_ns, asked_ns = self._wait(waiting, quiet_ns)
            if self._awake in ready:
                return
            self._hear(ready, quiet_ns)
            quiet_ns = asked_ns
            self._health.set("names_ready", self._names.ready)
            sent = False
            while self._names.ready and (interval := self._waiting.take(time.monotonic_ns())):
                self._send(interval)
                sent = True
            if self._reports.passed():
                self.report()
                give_back()
            elif sent:
                self._leave()
            if self._collections.passed():
                self._exports.collect(time.time_ns())

    def _hear(self, ready: set[object], quiet_ns: int) -> None:
        for bell in self._names.bells:
            if bell in ready:
                bell.hear(quiet_ns)
        if self._capture.bell in ready or self._capture.behind:
            self._capture.refresh()

    def _wait(self, waiting: selectors.BaseSelector, quiet_ns: int) -> tuple[set[object], int, int]:
        """Return what is ready, when nothing of it was, and when the rest was not (Unix time).

        ``quiet_ns``: when nothing was ready the last time.
        """
        asked_ns = time.time_ns()
        ready = waiting.select(0)
        if not ready:
            ready = waiting.select(self._pause())
            woken_ns = time.time_ns()
            quiet_ns, asked_ns = max(asked_ns, woken_ns - WAKING_NS), woken_ns
        return {key.fileobj for key, _ in ready}, quiet_ns, asked_ns

    def _pause(self) -> float:
        """Return how long there is nothing to do (s)."""
        if self._capture.behind:
            return 0.0
        next_ns, due = self._waiting.next_ns, min(self._reports.due, self._collections.due)
        first = due if next_ns is None else min(due, next_ns / SECOND)
        return max(first - time.monotonic(), 0 if self._names.ready else LOOK_S)

    def report(self, *, flush: bool = False) -> None:
        """Close the window and hand its records to the outlets; ``flush`` ends every connection."""
        with self._health.timed("window_stage", stage="read"):
            window = [self._window()]
        self._report(window, flush=flush)
        self._leave()
        self._health.mark("window")

    def _report(self, window: list[Window], *, flush: bool = False) -> None:
        with self._health.timed("window_stage", stage="join"):
            interval = self._join(window, flush=flush)
        if not flush:
            wait_ns = self._names.wait_ns
            interval = self._waiting.put(interval, wait_ns, time.monotonic_ns(), every=not self._names.ready)
        while flush and (late := self._waiting.take()):
            self._send(late)
        self._send(interval)

    def _go_on(self) -> None:
        """Take up what another agent left pinned, if one did: its connections first, then what was counted since."""
        inherited = self._capture.inherit()
        state = unpack(inherited.state) if inherited.state else None
        if state is None and inherited.state:
            log.warning("pin: another version of natlens kept its connections in another layout: they begin anew")
        if state:
            self._carry = state.carry
            for interval in state.waiting:
                self._waiting.put(interval, self._names.wait_ns, time.monotonic_ns(), every=True)
        for window in inherited.windows:
            self._report([self._with_older(explain(window, self._carry, self._health))])
        if state or inherited.windows:
            self._leave()

    def _leave(self) -> None:
        """Let an agent that comes after this one know what it knows, where it is to go on."""
        if self._capture.pinned:
            self._capture.leave(pack(State(self._carry, self._waiting.intervals)))

    def _join(self, window: list[Window], *, flush: bool) -> Interval:
        """Return the window's connections; takes it out of the list."""
        carry = [self._carry]  # handed over like the window, not kept: see join
        self._carry = Carry()
        joined = join(window.pop(), carry.pop(), self._limits, flush=flush, selection=self._selection)
        self._carry = joined.carry
        self._capture.controls.tell(joined.decided, self._health)
        self._health.add("octets_ambiguous", joined.ambiguous_octets)
        self._health.set("connections_live", len(joined.carry.live))
        tally_connections(joined.connections, self._health)
        return Interval(joined.connections, joined.end_ns)

    def _send(self, interval: Interval) -> None:
        """Name the connections and export them."""
        with self._health.timed("window_stage", stage="name"):
            self._names.refresh()
            self._exports.tell(self._names.observer(), time.time_ns())
            ends = name_ends(interval.connections, self._names)
            standing = self._names.standing(interval.connections, ends)
        tally_ends(ends, self._health)
        with self._health.timed("window_stage", stage="encode"):
            self._exports.put(
                Batch(
                    interval.connections,
                    *ends,
                    interface_names=self._capture.names,
                    interval_end_ns=interval.end_ns,
                    observed_ns=time.time_ns(),
                    standing=standing,
                    sampling_rate=self._options.sampling,
                )
            )

    def _window(self) -> Window:
        window = take(self._capture, self._carry, self._health)
        for kind, entries in window.entries.items():
            self._health.set("map_entries", entries, map=kind)
        return self._with_older(window)

    def _with_older(self, window: Window) -> Window:
        """Add the entries that are older than the agent: once, to the first window."""
        if len(self._known):
            window = replace(window, translations=np.concatenate([self._known, window.translations]))
            self._known = self._known[:0]
        return window

    def _finish(self) -> None:
        """Let go of the interfaces, report what was seen until then, deliver within the grace period."""
        deadline = time.monotonic() + self._options.shutdown_grace
        self._health.set("capturing", 0)
        if self._capture.pinned:  # programs and connections go on
            self.report()
            while late := self._waiting.take():
                self._send(late)
            self._leave()
        else:
            self._capture.detach()
            self.report(flush=True)
        self._exports.collect(time.time_ns())
        self._exports.flush(deadline)
