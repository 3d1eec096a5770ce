"""Who tells what NAT made of a connection: the packets themselves, a hook, or conntrack's events."""

import logging

from natlens.errors import KernelError, MissingFeature
from natlens.kernel.ctevents import Events
from natlens.kernel.hooks import Hook, Maps, attach_hook
from natlens.kernel.probe import reads_memory

__all__ = ["Source", "choose_source", "packets_tell"]

log = logging.getLogger(__name__)

NO_PACKETS = "lockdown: confidentiality lets no tc program read a packet's conntrack entry"
LAST = "ctnetlink"
HOOKS = "fentry", "kprobe"


def packets_tell(wanted: str) -> bool:
    """Tell whether, by option ``nat_source``, tc programs read and look up conntrack entries as far as they can."""
    return wanted in ("auto", "tc")


class Source:
    """One way, opened; ``name`` is `tc`, `fentry`, `kprobe`, `ctnetlink`, or `none`.

    ``events`` are conntrack's, where packets do not tell: of every connection, or, beside a hook, of those without NAT,
    which no hook hears of.
    """

    def __init__(self, name: str, hook: Hook | None = None, events: Events | None = None) -> None:
        self.name, self.hook, self.events = name, hook, events

    def detach(self) -> None:
        """Hear no more; what was heard stays to be taken."""
        if self.hook:
            self.hook.close()

    def close(self) -> None:
        """Let go of everything."""
        self.detach()
        if self.events:
            self.events.close()


def choose_source(wanted: str, loaded: Maps) -> Source:
    """Open the source that option ``nat_source`` asks for; `auto` takes the first that can be had.

    Raises KernelError where another one is asked for and cannot be had.
    """
    if packets_tell(wanted):
        if reads_memory():
            return Source("tc")
        if wanted == "tc":
            raise MissingFeature(f"nat_source: tc: {NO_PACKETS}: use auto")
        return _next_best(loaded)
    try:
        return _open(wanted, loaded)
    except KernelError as error:
        raise MissingFeature(f"nat_source: {wanted}: cannot be had: {error}. Use auto, which takes what can") from error


def _open(name: str, loaded: Maps) -> Source:
    if name == LAST:
        return Source(name, events=Events(translated=True))
    hook = attach_hook(name, loaded)
    try:
        events = Events(translated=False)
    except KernelError as error:
        log.warning("NAT is learned by %s, but %s Lost: initiator and zone of connections without NAT", name, error)
        return Source(name, hook)
    return Source(name, hook, events)


def _next_best(loaded: Maps) -> Source:
    reasons = [NO_PACKETS]
    for name in (*HOOKS, LAST):
        try:
            source = _open(name, loaded)
        except KernelError as error:
            reasons.append(str(error))
            continue
        log.warning("NAT is learned by %s: %s", name, "; ".join(reasons))
        return source
    log.warning("NAT is not learned, only looked up as far as this kernel can: %s", "; ".join(reasons))
    return Source("none")
