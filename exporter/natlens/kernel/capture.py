"""The capture: load, attach to what is there and to what appears, take windows, leave no trace."""

import errno
import logging

from natlens.config import Options
from natlens.errors import KernelError
from natlens.health import Health
from natlens.kernel import attach, maps
from natlens.kernel.controls import Controls
from natlens.kernel.coverage import Plan, plan
from natlens.kernel.libbpf import Object
from natlens.kernel.links import Bell, list_links
from natlens.kernel.netlink import route_socket
from natlens.kernel.programs import load
from natlens.kernel.sources import choose_source
from natlens.kernel.windows import Window, Windows

__all__ = ["Capture"]

log = logging.getLogger(__name__)


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
        self._route = route_socket()
        try:
            self._attachment = attach.choose(options.attach, self._object.program_fd("ingress_l2"), self._route)
        except KernelError:
            self._route.close()
            self.source.close()
            raise
        self._plans: dict[int, Plan] = {}
        self._seen: dict[str, int] = {}
        self.bell = Bell()
        self.names: dict[int, str] = {}  # ifindex → name, vanished ones included: their rows may still come

    @property
    def attached_by(self) -> str:
        """Return `tcx` or `clsact`."""
        return self._attachment.name

    def program_fd(self, name: str) -> int:
        """Return a program's descriptor: the kernel's account of its run time hangs on it."""
        return self._object.program_fd(name)

    def refresh(self) -> None:
        """Attach to what appeared or changed since the last call, let go of what vanished."""
        self.bell.silence()
        links = list_links(self._route)
        wanted = plan(links, self._options.include_interfaces, self._options.exclude_interfaces)
        self.names.update({link.index: link.name for link in links})
        self.controls.follow({link.index: link.name for link in links})  # before packets of a new one are counted
        for index in self._plans.keys() - wanted.keys():
            self._forget(index)
        changed = {index: one for index, one in wanted.items() if self._plans.get(index) != one}
        for index, one in changed.items():  # first all of these: a packet between two devices must not count twice
            self._set_counted(index, counted=one.counted)
        for index, one in changed.items():
            self._apply(index, one)
        self._health.set("interfaces_covered", sum(1 for one in self._plans.values() if one.ingress or one.egress))

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

    def detach(self) -> None:
        """Stop capturing; the last window can still be taken."""
        self._attachment.close()
        self.source.detach()
        self._plans.clear()

    def close(self) -> None:
        """Leave no trace."""
        self.detach()
        self.source.close()
        self.bell.close()
        self._route.close()
        self._object.close()
