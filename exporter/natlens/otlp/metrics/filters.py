"""Which connections are in metrics: terms of ``metrics_include`` and ``metrics_exclude``.

A term is ``namespace=PATTERN`` (a shell pattern), ``cidr=NETWORK``, ``port=NUMBER`` or ``kind=KIND``, of the end before
it (``source.``, ``destination.``, ``responder.``), else of any of the three.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from fnmatch import translate
from functools import partial
from ipaddress import ip_network
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from natlens.errors import ConfigError
from natlens.flows.connection import Nat
from natlens.flows.tuples import pack_address, words
from natlens.identity.endpoint import Endpoint
from natlens.identity.ends import Ends
from natlens.identity.networks import Network
from natlens.otlp import columns
from natlens.otlp.batch import Batch
from natlens.otlp.column import Mask, Numbers
from natlens.otlp.metrics.responder import responders

__all__ = ["EVERYTHING", "KINDS", "Filters", "Term", "parse_filters"]

KINDS = ("pod", "service", "node", "endpoint", "apiserver", "ambiguous", "link_local", "ovn_internal", "external")
"""What ``k8s.object.kind`` may be, beside the labels of ``cidr_labels``."""

WHERE = ("source", "destination", "responder")
TERM = re.compile(r"(?:(source|destination|responder)\.)?(namespace|cidr|port|kind)=(.+)", re.DOTALL)
SHOWN = 60  # characters of what is refused

Look = Callable[["_Looked", str], Mask]


class Term(NamedTuple):
    """One condition: it holds where ``look`` holds at one of the ends ``where``."""

    where: Sequence[str]
    look: Look


class Filters(NamedTuple):
    """Connections like one of ``include`` (all, where that is empty) and like none of ``exclude``."""

    include: tuple[Term, ...] = ()
    exclude: tuple[Term, ...] = ()

    def mask(self, batch: Batch) -> Mask | None:
        """Return which connections are in (shape (n,)); None is all of them."""
        if not self.include and not self.exclude:
            return None
        looked = _Looked(batch)
        included = _any(self.include, looked) if self.include else np.ones(len(batch), np.bool_)
        return included & ~_any(self.exclude, looked)


EVERYTHING = Filters()


class _Looked:
    """A batch as terms look at it."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._answering = responders(batch)

    def __len__(self) -> int:
        return len(self._batch)

    def endpoints(self, where: str, holds: Callable[[Endpoint], bool]) -> Mask:
        """Tell where an end's endpoint is such; each different one is asked about once."""
        ends: Ends = self._answering if where == "responder" else getattr(self._batch, where)
        endpoints = [end and end.endpoint for end in ends.each]
        answers = {one: one is not None and holds(one) for one in dict.fromkeys(endpoints)}
        found: Mask = np.array([answers[one] for one in endpoints], np.bool_)[ends.codes]
        return found

    def addresses(self, where: str, first: npt.NDArray[np.uint64], mask: npt.NDArray[np.uint64], family: int) -> Mask:
        """Tell where an end's address begins like ``first`` in the bits of ``mask`` (two words each)."""
        rows = self._batch.connections
        at = 0 if where == "source" else 2
        address = words(rows["original"])[:, at : at + 2]
        if where == "responder":
            became = (rows["nat"] & Nat.DNAT) != 0
            address = np.where(became[:, None], words(rows["translated"])[:, at : at + 2], address)
        same = (address & mask) == first
        inside: Mask = same[:, 0] & same[:, 1] & (rows["original"]["family"] == family)
        return inside

    def ports(self, where: str, port: int) -> Mask:
        """Tell where an end has this port, and its protocol has ports."""
        found = _equal(columns.port("sport" if where == "source" else "dport")(self._batch), port)
        if where == "responder":
            became = (self._batch.connections["nat"] & Nat.DNAT) != 0
            found = np.where(became, _equal(columns.port("dport", Nat.DNAT)(self._batch), port), found)
        return found


def _equal(numbers: Numbers, to: int) -> Mask:
    equal: Mask = numbers.values == to
    return equal if numbers.present is None else equal & numbers.present


def _any(terms: Iterable[Term], looked: _Looked) -> Mask:
    found = np.zeros(len(looked), np.bool_)
    for term in terms:
        for where in term.where:
            found |= term.look(looked, where)
    return found


def parse_filters(include: Sequence[str], exclude: Sequence[str], labels: Collection[str] = ()) -> Filters:
    """Return the filters that ``metrics_include`` and ``metrics_exclude`` name; ``labels`` are kinds of the user's own.

    Raises :class:`~natlens.errors.ConfigError` for what is no term.
    """
    kinds = dict.fromkeys((*KINDS, *labels))
    return Filters(
        tuple(_term("metrics_include", text, kinds) for text in include),
        tuple(_term("metrics_exclude", text, kinds) for text in exclude),
    )


def _term(option: str, text: str, kinds: Collection[str]) -> Term:
    matched = TERM.fullmatch(text.strip())
    if not matched:
        raise ConfigError(
            f"{option}={text[:SHOWN]!r} is no filter; write namespace=PATTERN, cidr=NETWORK, port=NUMBER or kind=KIND, "
            "alone or after source., destination. or responder."
        )
    where, what, value = matched.groups()
    said = f"{option}={text[:SHOWN]!r}"
    looks: dict[str, Callable[[], Look]] = {
        "namespace": partial(_namespace, value),
        "cidr": partial(_cidr, said, value),
        "port": partial(_port, said, value),
        "kind": partial(_kind, said, value, kinds),
    }
    return Term((where,) if where else WHERE, looks[what]())


def _namespace(pattern: str) -> Look:
    matches = re.compile(translate(pattern)).match

    def holds(endpoint: Endpoint) -> bool:
        return bool(endpoint.k8s_namespace_name) and matches(endpoint.k8s_namespace_name or "") is not None

    return lambda looked, where: looked.endpoints(where, holds)


def _kind(said: str, value: str, kinds: Collection[str]) -> Look:
    if value not in kinds:
        raise ConfigError(f"{said} has an unknown kind; it must be one of {', '.join(kinds)}")
    return lambda looked, where: looked.endpoints(where, lambda endpoint: endpoint.k8s_object_kind == value)


def _port(said: str, value: str) -> Look:
    if not re.fullmatch(r"[0-9]{1,5}", value) or not 0 < int(value) < 1 << 16:
        raise ConfigError(f"{said} has no port; it must be a number from 1 to 65535")
    return lambda looked, where: looked.ports(where, int(value))


def _cidr(said: str, value: str) -> Look:
    try:
        network = ip_network(value)
    except ValueError as error:
        raise ConfigError(f"{said} has no network ({error}); write it as 10.0.0.0/8 or fd00::/8") from error
    first, mask = _bits(network)
    return lambda looked, where: looked.addresses(where, first, mask, network.version)


def _bits(network: Network) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return a network's first address and its mask as words of the tuples' addresses."""
    first = np.frombuffer(pack_address(str(network.network_address)), np.uint64)
    length = 128 - network.max_prefixlen + network.prefixlen
    mask = ((1 << length) - 1) << (128 - length)
    return first, np.frombuffer(mask.to_bytes(16, "big"), np.uint64)
