"""Which interface an address was reached by, and what that tells of the pods that had it.

Where each pod has a route of its own, the kernel knows to the nanosecond what the API tells in seconds: a pod's address
begins when its interface gets the route and ends when the interface is gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from natlens.identity.intervals import BEGIN, END, Interval

__all__ = ["Bindings"]


@dataclass(slots=True, eq=False)
class Binding:
    """An address was reached by an interface in [since, until), if not from ``after`` or until ``before`` already."""

    ifindex: int
    since: int
    after: int
    until: int = END
    before: int = END


class Bindings:
    """Every binding of every address, in order of time."""

    def __init__(self, grace_ns: int) -> None:
        self._grace_ns = grace_ns
        self._of: dict[str, list[Binding]] = {}
        self._by_ifindex: dict[int, set[str]] = {}

    def bind(self, address: str, ifindex: int, at_ns: int, after_ns: int) -> bool:
        """Enter a route to an address; return False if it was known. It takes the place of a route by another.

        The route was there at ``at_ns``, and not yet at ``after_ns``.
        """
        known = self._of.setdefault(address, [])
        if known and known[-1].until == END:
            if known[-1].ifindex == ifindex:
                return False
            self._end(address, at_ns, after_ns)
        since = max(at_ns, known[-1].until if known else at_ns)
        known.append(Binding(ifindex, since, min(after_ns, since)))
        self._by_ifindex.setdefault(ifindex, set()).add(address)
        return True

    def unbind(self, ifindex: int, at_ns: int, after_ns: int) -> list[str]:
        """Enter the end of an interface, over at ``at_ns`` and not yet at ``after_ns``; return its addresses."""
        addresses = sorted(self._by_ifindex.get(ifindex, ()))
        for address in addresses:
            self._end(address, at_ns, after_ns)
        return addresses

    def clear(self) -> list[str]:
        """Forget everything; return the addresses of which something was known."""
        addresses = list(self._of)
        self._of.clear()
        self._by_ifindex.clear()
        return addresses

    def __contains__(self, address: str) -> bool:
        """Tell whether an address has, or had lately, a route of its own."""
        return address in self._of

    def addresses(self) -> list[str]:
        """Return all of them."""
        return list(self._of)

    def purge(self, address: str, before_ns: int) -> None:
        """Forget what ended before."""
        self._of[address] = [one for one in self._of[address] if one.until >= before_ns]
        if not self._of[address]:
            del self._of[address]

    def borders(self, address: str) -> list[int]:
        """Return the times at which an address changed hands."""
        return [time for one in self._of.get(address, ()) for time in _times(one) if time < END]

    def told(self, address: str, claims: Sequence[tuple[Interval, int]]) -> list[tuple[Interval, bool]]:
        """Return when claims of local pods on an address held, as far as the interfaces tell.

        ``claims``: each interval, and the last time at which the pod proved that it had the address. Each pod has one
        of the bindings, no two the same; where that leaves a choice, the pod had it in the time of one of them.
        Evidence that contradicts itself is dropped. With each interval comes whether there is such a choice.
        """
        known = self._of.get(address, [])
        choices = [
            [binding for binding in known if _may_be(binding, held, proved, first=binding is known[0])]
            for held, proved in claims
        ]
        if not _settle(choices):
            return [(held, False) for held, _ in claims]
        return [
            (_clipped(held, choice, known, self._grace_ns) if choice else held, len(choice) > 1)
            for (held, _), choice in zip(claims, choices, strict=True)
        ]

    def _end(self, address: str, at_ns: int, after_ns: int) -> None:
        last = self._of[address][-1]
        last.until = max(at_ns, last.since)
        last.before = min(max(after_ns, last.since), last.until)
        held = self._by_ifindex[last.ifindex]
        held.discard(address)
        if not held:
            del self._by_ifindex[last.ifindex]


def _times(binding: Binding) -> tuple[int, ...]:
    return binding.after, binding.since, binding.before, binding.until


def _may_be(binding: Binding, held: Interval, proved: int, *, first: bool) -> bool:
    """Tell whether a binding may be that of a pod with this claim.

    It began after the kubelet took the pod up and before the pod surely had the address, unless it is the first that is
    known: it may be older than this process. It ended no sooner than the pod had the address for the last time.
    """
    begins = held.since <= binding.since < held.until and (first or binding.since <= held.sure_since)
    return begins and binding.until >= max(proved, held.sure_until if held.until < END else BEGIN)


def _settle(choices: list[list[Binding]]) -> bool:
    """Leave to each pod the bindings that no other must have; return False if two must have the same."""
    settled = False
    while not settled:
        settled = True
        for choice in choices:
            for other in choices:
                if len(choice) == 1 and other is not choice and choice[0] in other:
                    if len(other) == 1:
                        return False
                    other.remove(choice[0])
                    settled = False
    return True


def _clipped(held: Interval, choice: Sequence[Binding], known: Sequence[Binding], grace_ns: int) -> Interval:
    """Return a pod's interval within the bindings that may be its; it is no tombstone where another's has begun."""
    since, (until, before) = choice[0].since, max((one.until, one.before) for one in choice)
    if since <= held.sure_since:
        begin = max(held.since, choice[0].after)
        held = held._replace(since=begin, sure_since=since if len(choice) == 1 else held.sure_since)
    if until == END:
        return held
    gone = min([until + grace_ns, *(one.since for one in known if one.since >= until)])
    sure_until = before if len(choice) == 1 else min(held.sure_until, before)
    return held._replace(sure_until=sure_until, until=until, gone=gone)
