"""Rules and sampling, for what the kernel could not be sure of: it knows a packet, here whole connections are known.

The kernel leaves out what it is sure of (``bpf/rules.h``). Of the rest each row is judged here by the same rules, once
it is known whose it is, so that of a connection everything is counted or nothing (ADR 14).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from natlens.flows.sampling import is_sampled
from natlens.flows.tuples import words
from natlens.kernel.rules import ANY, PORTS, WITH_PORTS, End, Rule
from natlens.kernel.structs import ROW_KEY, Cause

__all__ = ["EVERYTHING", "NO_RULE", "Selection"]

NO_RULE = -1
NOWHERE = 255  # no side: rules about where packets are counted do not hold there

Mask = npt.NDArray[np.bool_]
Tuples = npt.NDArray[np.void]


@dataclass(frozen=True)
class Selection:
    """What is counted."""

    rules: Sequence[Rule] = ()
    """In the order in which they are asked."""
    sampling: int = 1
    interfaces: Mapping[int, int] = field(default_factory=dict)
    """ifindex → bit n: rule n is in force there."""

    @property
    def everything(self) -> bool:
        """Whether all is counted, so that nobody has to ask."""
        return not self.rules and self.sampling <= 1

    def decides(self, keys: Tuples, originals: Tuples, translated: Tuples) -> npt.NDArray[np.intp]:
        """Return what decides about each row: a rule's number, ``Cause.SAMPLING``, or :data:`NO_RULE` (shape (n,)).

        ``keys`` (dtype ROW_KEY) say where it was counted, the others (dtype TUPLE) whose it is.
        """
        decided = np.full(len(keys), NO_RULE)
        open_ = np.ones(len(keys), np.bool_)
        if self.sampling > 1:
            open_ = is_sampled(originals, self.sampling)
            decided[~open_] = Cause.SAMPLING
        if self.rules and len(keys):
            different, which = np.unique(keys["ifindex"], return_inverse=True)
            for number, rule in enumerate(self.rules):
                there = np.array([self._is_at(rule, number, index) for index in different.tolist()], np.bool_)[which]
                holds = open_ & there & _holds(rule, keys, originals, translated)
                decided[holds] = number
                open_ &= ~holds
        return decided

    def leaves_out(self, decided: npt.NDArray[np.intp]) -> Mask:
        """Tell what is not counted, by what decided (:meth:`decides`)."""
        rejecting = [number for number, rule in enumerate(self.rules) if rule.rejects]
        return np.isin(decided, [*rejecting, Cause.SAMPLING])

    def forgets(self, originals: Tuples, translated: Tuples) -> Mask:
        """Tell which connections are left out wherever they are counted (shape (n,))."""
        nowhere = np.zeros(len(originals), ROW_KEY)
        nowhere["tuple"], nowhere["side"] = originals, NOWHERE
        return self.leaves_out(self.decides(nowhere, originals, translated))

    def _is_at(self, rule: Rule, number: int, index: int) -> bool:
        return rule.interface is None or bool(self.interfaces.get(index, 0) >> number & 1)


EVERYTHING = Selection()


def _holds(rule: Rule, keys: Tuples, originals: Tuples, translated: Tuples) -> Mask:
    own = keys["tuple"]
    holds = np.ones(len(keys), np.bool_)
    for value, column in ((rule.protocol, own["proto"]), (rule.family, own["family"]), (rule.side, keys["side"])):
        if value is not None:
            holds &= column == value
    if rule.asks_for_port:
        holds &= np.isin(own["proto"], WITH_PORTS)
    ends = {"source": (originals, "src"), "destination": (originals, "dst"), "responder": (translated, "dst")}
    for name, (tuples, at) in ends.items():
        holds &= _inside(rule.ends[name], tuples, at) & _between(rule.ends[name], tuples, at)
    four = [(tuples, at) for tuples in (originals, translated) for at in ("src", "dst")]
    for asks in (_inside, _between):
        holds &= np.logical_or.reduce([asks(rule.ends[ANY], *one) for one in four])
    return holds


def _inside(end: End, tuples: Tuples, at: str) -> Mask:
    """Tell where the address is in the network."""
    if end.network is None:
        return np.ones(len(tuples), np.bool_)
    offset = 0 if at == "src" else 2
    prefix, first = end.network.prefixlen, int(end.network.network_address)
    if end.network.version == 4:
        prefix, first = prefix + 96, first | 0xFFFF << 32
    mask = np.frombuffer(((1 << 128) - (1 << (128 - prefix))).to_bytes(16, "big"), np.uint64)
    wanted = np.frombuffer(first.to_bytes(16, "big"), np.uint64)
    inside: Mask = ((words(tuples)[:, offset : offset + 2] & mask) == wanted).all(axis=1)
    return inside


def _between(end: End, tuples: Tuples, at: str) -> Mask:
    """Tell where the port is in the range."""
    if end.ports == PORTS:
        return np.ones(len(tuples), np.bool_)
    port = tuples["sport" if at == "src" else "dport"]
    between: Mask = (port >= end.ports[0]) & (port <= end.ports[1])
    return between
