"""Which connections are told apart: each has the attributes of one series."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from natlens.otlp import attributes as table
from natlens.otlp.batch import ROLES, Batch
from natlens.otlp.column import LARGEST_KEY, Choice, Codes, Column, Digits, Numbers, Value
from natlens.otlp.endpoints import ENDPOINT_FIELDS
from natlens.otlp.metrics.collection import Attributes
from natlens.otlp.metrics.responder import responders
from natlens.otlp.metrics.sets import RESPONDER

__all__ = ["Groups", "Reading"]

ENDS = {f"{role}.{name}": (role, name) for role in (*ROLES, RESPONDER) for name, *_ in ENDPOINT_FIELDS}
"""Attribute of an end's endpoint → role and the rest of its name."""

MOST_KEPT = 20_000
"""Endpoints of a role that are remembered; where there are more the memory is better used otherwise."""


class _Part(NamedTuple):
    """Attributes that are read together: connection i has ``different[codes[i]]``."""

    codes: Codes
    different: Sequence[Attributes]


class Groups(NamedTuple):
    """Connections by their attributes: connection i is in group ``codes[i]``."""

    codes: Codes
    """Shape (n,)."""
    parts: Sequence[Sequence[Attributes]]
    """The attributes of group g are ``parts[0][g]``, ``parts[1][g]``, …, one after another."""

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self.parts[0])

    def attributes(self) -> Iterator[Attributes]:
        """Yield the attributes of each group."""
        return map(tuple, map(chain.from_iterable, zip(*self.parts, strict=True)))

    def of(self, group: int) -> Attributes:
        """Return the attributes of one group."""
        return tuple(chain.from_iterable(part[group] for part in self.parts))


class Reading:
    """Reads ``attributes``, at least one, in the order of :data:`natlens.otlp.metrics.sets.ALLOWED`.

    What was read of an endpoint is kept while every batch has connections of it, for :data:`MOST_KEPT` of them.
    """

    def __init__(self, attributes: Sequence[str]) -> None:
        self._names = [list(together) for _, together in groupby(attributes, lambda name: ENDS.get(name, (name,))[0])]
        self._kept: dict[str, Mapping[Hashable, Attributes]] = {}

    def groups(self, batch: Batch, rows: npt.NDArray[np.intp]) -> Groups:
        """Return the groups of the connections ``rows`` (at least one)."""
        parts = [self._part(batch, names, rows) for names in self._names]
        first, codes = _distinct([(part.codes, len(part.different)) for part in parts])
        return Groups(codes, [_chosen(part.different, part.codes[first]) for part in parts])

    def _part(self, batch: Batch, names: Sequence[str], rows: npt.NDArray[np.intp]) -> _Part:
        if names[0] in ENDS:
            return self._of_ends(batch, names, rows)
        return _single(names[0], READERS[names[0]](batch), rows)

    def _of_ends(self, batch: Batch, names: Sequence[str], rows: npt.NDArray[np.intp]) -> _Part:
        role = ENDS[names[0]][0]
        read_as, of = role, batch
        if role == RESPONDER:  # the readers of the destination, of what answered
            read_as, of = "destination", replace(batch, destination=responders(batch))
        ends = getattr(of, ROLES[read_as])
        choices = [(name, READERS[f"{read_as}.{ENDS[name][1]}"](of)) for name in names]
        endpoints = [end and end.endpoint for end in ends.each]
        last, now = self._kept.get(role, {}), dict[Hashable, Attributes]()
        for endpoint, at in {endpoint: at for at, endpoint in enumerate(endpoints)}.items():
            known = last.get(endpoint)
            now[endpoint] = _read(choices, at) if known is None else known
        self._kept[role] = now if len(now) <= MOST_KEPT else {}
        numbers = {one: number for number, one in enumerate(dict.fromkeys(now.values()))}
        number_of = {endpoint: numbers[one] for endpoint, one in now.items()}
        codes = np.fromiter(map(number_of.__getitem__, endpoints), np.intp, len(endpoints))[ends.codes[rows]]
        return _Part(codes, list(numbers))


READERS = {attribute.name: attribute.read for attribute in table.ATTRIBUTES}


def _read(choices: Sequence[tuple[str, Column]], at: int) -> Attributes:
    """Return the attributes of the end that stands at ``at``."""
    values = ((name, choice.values[at]) for name, choice in choices if isinstance(choice, Choice))
    return tuple((name, value) for name, value in values if value is not None)


def _single(name: str, column: Column, rows: npt.NDArray[np.intp]) -> _Part:
    """Return the part of one attribute."""
    match column:
        case Choice(codes, values, _):
            numbers: dict[Value | None, int] = {}
            number_of = [numbers.setdefault(value, len(numbers)) for value in values]
            return _Part(np.array(number_of, np.intp)[codes[rows]], [_one(name, value) for value in numbers])
        case Numbers(values, present):
            different, codes = np.unique(values[rows], return_inverse=True)
            if present is not None:
                codes = np.where(present[rows], codes, len(different))
            return _Part(codes, [*(_one(name, value) for value in different.tolist()), ()])
        case Digits():
            raise TypeError(f"{name} is different for every connection")


def _one(name: str, value: Value | None) -> Attributes:
    return () if value is None else ((name, value),)


def _chosen(different: Sequence[Attributes], codes: Codes) -> list[Attributes]:
    return [different[code] for code in codes.tolist()]


def _distinct(parts: Sequence[tuple[Codes, int]]) -> tuple[Codes, Codes]:
    """Return where each different combination of codes stands first, and which combination each row (shape (n,)) is.

    Each part is codes ≥ 0 and a number above all of them.
    """
    key, room = parts[0]
    for codes, size in parts[1:]:
        if room * size > LARGEST_KEY:  # there are no more combinations than rows
            _, key = np.unique(key, return_inverse=True)
            room = len(key)
        key, room = key * size + codes, room * size
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    return first, which
