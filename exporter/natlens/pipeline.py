"""What goes on while the agent runs: capture → join → names → records → outlets, once an interval."""

import logging
import selectors
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from natlens.config import Options
from natlens.delivery.outlet import Outlet
from natlens.errors import KernelError
from natlens.flows.join import Carry, join
from natlens.flows.oneway import unexplained
from natlens.flows.report import Limits
from natlens.health import Health
from natlens.identity.endpoint import Identity
from natlens.identity.naming import FourEnds, name_ends
from natlens.identity.standing import Standing
from natlens.identity.waiting import Interval, Waiting
from natlens.kernel import conntrack
from natlens.kernel.capture import Capture
from natlens.kernel.memory import give_back
from natlens.kernel.windows import TRANSLATIONS, Window
from natlens.otlp.batch import Batch
from natlens.otlp.encoder import Encoder
from natlens.otlp.resource import Observer, resource

__all__ = ["Names", "Pipeline", "limits", "take"]

log = logging.getLogger(__name__)

SECOND = 1_000_000_000
WAKING_NS = 50_000_000  # what it may take this thread to be woken
LOOK_S = 0.05  # how often is looked whether there are names yet
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
    window = capture.take()
    tuples = unexplained(window, carry)
    health.add("conntrack_not_asked", max(len(tuples) - ASKED, 0))
    if not len(tuples):
        return window
    try:
        answers = conntrack.ask(tuples[:ASKED], window.end_ns)
    except KernelError:
        health.add("conntrack_not_asked", min(len(tuples), ASKED))
        return window
    return replace(window, translations=np.concatenate([window.translations, answers]))


def _older(limit: int) -> npt.NDArray[np.void]:
    """Return the conntrack entries that are there before the first packet is seen."""
    try:
        return conntrack.dump(time.monotonic_ns(), limit)
    except KernelError as error:
        log.warning("%s Lost: NAT and initiator of connections older than this agent, until a packet tells", error)
        return np.zeros(0, TRANSLATIONS)


class Pipeline:
    """One agent. Its concurrent tasks: this loop, and one thread in each sending outlet."""

    def __init__(
        self, options: Options, capture: Capture, names: Names, outlets: Sequence[Outlet], health: Health
    ) -> None:
        self._options, self._capture, self._names = options, capture, names
        self._outlets, self._health = outlets, health
        self._limits = limits(options)
        self._carry = Carry()
        self._known = np.zeros(0, TRANSLATIONS)
        self._waiting = Waiting()
        self._told: Mapping[str, str] = {}
        self._encoder = self._encoder_of({})
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
        log.info(
            "capturing on %d interfaces by %s, reporting every %g s",
            self._health.snapshot().get("interfaces_covered", 0),
            self._capture.attached_by,
            self._options.interval,
        )
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._awake, selectors.EVENT_READ)
            waiting.register(self._capture.bell, selectors.EVENT_READ)
            for bell in self._names.bells:
                waiting.register(bell, selectors.EVENT_READ)
            self._loop(waiting)
        self._finish()

    def _loop(self, waiting: selectors.BaseSelector) -> None:
        due, quiet_ns = time.monotonic() + self._options.interval, time.time_ns()
        while True:
            ready, quiet_ns, asked_ns = self._wait(waiting, due, quiet_ns)
            if self._awake in ready:
                return
            self._hear(ready, quiet_ns)
            quiet_ns = asked_ns
            while self._names.ready and (interval := self._waiting.take(time.monotonic_ns())):
                self._send(interval)
            if time.monotonic() >= due:
                self.report()
                give_back()
                due = max(due + self._options.interval, time.monotonic())

    def _hear(self, ready: set[object], quiet_ns: int) -> None:
        for bell in self._names.bells:
            if bell in ready:
                bell.hear(quiet_ns)
        if self._capture.bell in ready:
            self._capture.refresh()

    def _wait(self, waiting: selectors.BaseSelector, due: float, quiet_ns: int) -> tuple[set[object], int, int]:
        """Return what is ready, when nothing of it was, and when the rest was not (Unix time).

        ``quiet_ns``: when nothing was ready the last time.
        """
        asked_ns = time.time_ns()
        ready = waiting.select(0)
        if not ready:
            ready = waiting.select(self._pause(due))
            woken_ns = time.time_ns()
            quiet_ns, asked_ns = max(asked_ns, woken_ns - WAKING_NS), woken_ns
        return {key.fileobj for key, _ in ready}, quiet_ns, asked_ns

    def _pause(self, due: float) -> float:
        """Return how long there is nothing to do (s)."""
        next_ns = self._waiting.next_ns
        first = due if next_ns is None else min(due, next_ns / SECOND)
        return max(first - time.monotonic(), 0 if self._names.ready else LOOK_S)

    def report(self, *, flush: bool = False) -> None:
        """Close the window and hand its records to the outlets; ``flush`` ends every connection."""
        window, carry = [self._window()], [self._carry]  # handed over, not kept: see join
        self._carry = Carry()
        joined = join(window.pop(), carry.pop(), self._limits, flush=flush)
        self._carry = joined.carry
        self._health.add("octets_ambiguous", joined.ambiguous_octets)
        self._health.set("connections_live", len(joined.carry.live))
        interval = Interval(joined.connections, joined.end_ns)
        if not flush:
            wait_ns = self._names.wait_ns
            interval = self._waiting.put(interval, wait_ns, time.monotonic_ns(), every=not self._names.ready)
        while flush and (late := self._waiting.take()):
            self._send(late)
        self._send(interval)

    def _send(self, interval: Interval) -> None:
        """Name the connections, encode them, hand them to the outlets."""
        self._names.refresh()
        if (told := self._names.observer()) != self._told:
            self._told, self._encoder = told, self._encoder_of(told)
        ends = name_ends(interval.connections, self._names)
        batch = Batch(
            interval.connections,
            *ends,
            interface_names=self._capture.names,
            interval_end_ns=interval.end_ns,
            observed_ns=time.time_ns(),
            standing=self._names.standing(interval.connections, ends),
        )
        for request in self._encoder.requests(batch):
            for outlet in self._outlets:
                outlet.send(request)

    def _encoder_of(self, told: Mapping[str, str]) -> Encoder:
        options = self._options
        known: dict[str, Any] = {"node_name": options.node_name, "cluster_name": options.cluster_name, **told}
        return Encoder(resource(Observer.here(**known)))

    def _window(self) -> Window:
        window = take(self._capture, self._carry, self._health)
        if len(self._known):  # older than the agent: once, with the first window
            window = replace(window, translations=np.concatenate([self._known, window.translations]))
            self._known = self._known[:0]
        return window

    def _finish(self) -> None:
        """Let go of the interfaces, report what was seen until then, deliver within the grace period."""
        deadline = time.monotonic() + self._options.shutdown_grace
        self._capture.detach()
        self.report(flush=True)
        for outlet in self._outlets:
            outlet.flush(deadline)
