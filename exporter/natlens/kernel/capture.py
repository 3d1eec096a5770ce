"""The capture: load, attach to what is there and to what appears, take windows, leave no trace."""

import errno
import logging
from collections import deque
from collections.abc import Sequence
from itertools import islice

from natlens.config import Options
from natlens.errors import KernelError
from natlens.health import Health
from natlens.kernel import attach, maps
from natlens.kernel.controls import Controls
from natlens.kernel.coverage import Plan, plan
from natlens.kernel.crowd import choose
from natlens.kernel.libbpf import Object
from natlens.kernel.links import Bell, read_links
from natlens.kernel.programs import load
from natlens.kernel.sources import choose_source
from natlens.kernel.succession import NOTHING, Inheritance, Succession
from natlens.kernel.windows import Window, Windows

__all__ = ["Capture"]

log = logging.getLogger(__name__)

GONE_NAMES = 4096  # interfaces that vanished, whose names are kept for connections that were counted there


class Capture:
    """natlens in the kernel, from load to last detach."""

    def __init__(self, options: Options, health: Health, loaded: Object | None = None) -> None:
        """Load, unless that was done; nothing is attached yet. Raises KernelError and its kin."""
        self._options, self._health = options, health
        self._object = loaded or load(options)
        self.source = choose_source(options.nat_source, self._object)
        self._windows = Windows(self._object)
        self._counted_fd = self._object.map_fd("counted_interfaces")
        self.controls = Controls(self._object, options)
        try:
            self._attachment = choose(options.attach, self._object.program_fd)
        except KernelError:
            self.source.close()
            raise
        self._succession: Succession | None = None
        self._plans: dict[int, Plan] = {}
        self._seen: dict[str, int] = {}
        self.bell = Bell()
        self.behind = False  # more appeared than one refresh attaches to: call it again
        self.names: dict[int, str] = {}  # ifindex → name, vanished ones included: their rows may still come
        self._gone: deque[int] = deque()

    @property
    def attached_by(self) -> str:
        """Return `tcx` or `clsact`."""
        return self._attachment.name

    @property
    def looks_up(self) -> bool:
        """Whether programs ask conntrack for what comes in; else all of that is ctnetlink's."""
        return self._object.looks_up

    @property
    def pinned(self) -> bool:
        """Whether programs go on when this process ends."""
        return self._options.pin

    def program_fd(self, name: str) -> int:
        """Return a program's descriptor: the kernel's account of its run time hangs on it."""
        return self._object.program_fd(name)

    def refresh(self) -> None:
        """Attach to what appeared or changed since the last call, let go of what vanished.

        The first call also takes over what another agent left (see :meth:`inherit`). Raises ConfigError and
        KernelError.
        """
        first = self._begin()
        for index in self._lost() & self._plans.keys():
            self._forget(index)
        links = read_links()
        wanted = plan(links, self._options.include_interfaces, self._options.exclude_interfaces)
        self.names.update({link.index: link.name for link in links})
        self.controls.follow({link.index: link.name for link in links})  # before packets of a new one are counted
        for index in self._plans.keys() - wanted.keys():
            self._forget(index)
        changed = {index: one for index, one in wanted.items() if self._plans.get(index) != one}
        self._attachment.expect(len(changed))
        self.behind = not first and len(changed) > self._attachment.batch
        if self.behind:
            changed = dict(islice(changed.items(), self._attachment.batch))
        for index, one in changed.items():  # first all of these: a packet between two devices must not count twice
            self._set_counted(index, counted=one.counted)
        for index, one in changed.items():
            self._apply(index, one)
        if first:
            self._attachment.settle()
        if not changed:  # what appears comes before what only moves
            self._attachment.catch_up()
        self.behind |= self._attachment.waits
        self._health.set("interfaces_covered", len(self.covered()))

    def _begin(self) -> bool:
        """Find out what was left, once; tells whether this was the first time."""
        if self._succession is not None:
            return False
        self._succession = Succession(self._options, self._object)
        self._attachment.begin(self._succession.pins)
        return True

    def _lost(self) -> set[int]:
        """Return the interfaces that went: where a number is used again, nothing stands on the new one."""
        gone = self.bell.silence()
        if gone is not None:
            return gone
        self._health.add("interfaces_resynced")
        return {index for index in self._plans if not self._stands(index)}

    def covered(self) -> list[int]:
        """Return the interfaces (ifindex) that something is attached to."""
        return [index for index, one in self._plans.items() if one.ingress or one.egress]

    def _stands(self, index: int) -> bool:
        plan_ = self._plans[index]
        sides = [side for side in (attach.INGRESS, attach.EGRESS) if getattr(plan_, side)]
        return all(self._attachment.stands(index, side) for side in sides)

    def _set_counted(self, index: int, *, counted: bool) -> None:
        if counted:
            maps.update(self._counted_fd, index, 1, size=1)
        else:
            maps.delete(self._counted_fd, index)

    def _apply(self, index: int, wanted: Plan) -> None:
        before = self._plans.get(index)
        self._plans[index] = wanted
        log.debug("%s: %s (ingress %s, egress %s)", self.names[index], wanted.reason, wanted.ingress, wanted.egress)
        for side in (attach.INGRESS, attach.EGRESS):
            program = getattr(wanted, side)
            was = getattr(before, side) if before else None
            if program == was:
                continue
            if was:
                self._attachment.detach(index, side)
            if program:
                self._attach(index, side, program)

    def _attach(self, index: int, side: attach.Side, program: str) -> None:
        try:
            covered = self._attachment.attach(index, side, self._object.program_fd(program))
        except Exception as error:
            code = getattr(error, "code", getattr(error, "errno", None))
            if code in attach.GONE:
                return
            if code in (errno.EPERM, errno.EACCES):
                raise KernelError(
                    f"{self.names[index]}: may not attach at {side} by {self.attached_by}: {error}: "
                    "give the process CAP_NET_ADMIN in the namespace of its interfaces"
                ) from error
            self._not_covered(index, side, f"{error}; exclude_interfaces leaves an interface alone")
            return
        if not covered:
            self._not_covered(index, side, "another qdisc (`ingress`) stands where clsact would")

    def _not_covered(self, index: int, side: attach.Side, why: str) -> None:
        """One odd device must not stop the others: say what is lost."""
        lost = (
            "packets that come in by it" if side == attach.INGRESS else "packets the host sends by it, NAT seen there"
        )
        self._health.add("interfaces_not_covered", side=side, interface=self.names[index])
        log.warning("%s: %s not covered: %s; not counted: %s", self.names[index], side, why, lost)

    def _forget(self, index: int) -> None:
        gone = self._plans.pop(index)
        self.controls.forget(index)
        self._gone.append(index)
        if len(self._gone) > GONE_NAMES and (oldest := self._gone.popleft()) not in self._plans:
            self.names.pop(oldest, None)
        maps.delete(self._counted_fd, index)
        for side in (attach.INGRESS, attach.EGRESS):
            if getattr(gone, side):
                self._attachment.detach(index, side)

    def take(self) -> Window:
        """Close the window and return it; what the kernel could not count goes to health."""
        window = self._windows.take()
        for name, value in window.counters.items():
            self._health.add(f"kernel_{name}", value - self._seen.get(name, 0))
        self._seen = window.counters
        self.controls.tell(self.controls.left_out(), self._health)
        return window

    def inherit(self) -> Inheritance:
        """Return what another agent left: to be reported before this one's first window."""
        if self._succession is None:
            return NOTHING
        found = self._succession.inherit(self._windows.wait, self._health)
        self.names = {**found.names, **self.names}
        return found

    def leave(self, state: Sequence[bytes | memoryview]) -> None:
        """Keep ``state`` for an agent that goes on from here; does nothing where nothing is pinned."""
        if self._succession:
            self._succession.leave(self._seen, self.names, state)

    def detach(self) -> None:
        """Stop capturing, unless programs are pinned; the last window can still be taken."""
        self._attachment.close()
        self.source.detach()
        self._plans.clear()

    def close(self) -> None:
        """Leave no trace but what is pinned."""
        self.detach()
        self.source.close()
        if self._succession:
            self._succession.close()
        self.bell.close()
        self._object.close()
