"""Pieces of records that are one of a few: each is encoded once."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from natlens.otlp.arrange import Group
from natlens.otlp.column import LARGEST_KEY, Choice, Codes, Pairs, Value, combine
from natlens.otlp.record import key_value
from natlens.otlp.strip import Lengths, varint

__all__ = ["Fragments", "Piece", "pieces"]

FEW = 256
"""A column of no more values is worth being combined with its neighbours of the kind: one piece to copy, not many."""


class Piece(NamedTuple):
    """A part of every record: record i has ``octets[codes[i]]``."""

    codes: Codes
    octets: npt.NDArray[np.object_]
    """Of ``bytes``."""
    lengths: Lengths
    """Of ``octets``."""

    @classmethod
    def of(cls, codes: Codes, octets: Sequence[bytes]) -> "Piece":
        """Return the piece; ``codes`` index ``octets``."""
        held = np.empty(len(octets), np.object_)
        held[:] = octets
        return cls(codes, held, np.fromiter(map(len, octets), np.int64, len(octets)))


class Fragments:
    """Encoded attributes, by what they were encoded from; kept from one window to the next.

    ``tag`` is that of the field ``attributes``.
    """

    def __init__(self, tag: bytes) -> None:
        self._tag = tag
        self._now: defaultdict[str, dict[Hashable, bytes]] = defaultdict(dict)
        self._last = self._now

    def turn(self) -> None:
        """Begin a window: what the last one did not ask for is forgotten with the next."""
        self._last, self._now = self._now, defaultdict(dict)

    def of(self, name: str, keys: Sequence[Hashable], encode: Callable[[list[int]], Iterable[bytes]]) -> list[bytes]:
        """Return a fragment for each key; those not known under ``name`` are made by ``encode`` of their places."""
        last, now = self._last[name], self._now[name]
        now.update((key, last[key]) for key in keys if key in last)
        places = {key: at for at, key in enumerate(keys) if key not in now}
        if places:
            now.update(zip(places, encode(list(places.values())), strict=True))
        return [now[key] for key in keys]

    def encoded(self, attributes: Sequence[tuple[str, Value | None]]) -> bytes:
        """Return attributes as they stand in a record; nothing for one without a value."""
        pairs = [key_value(name, value).SerializeToString() for name, value in attributes if value is not None]
        return b"".join(self._tag + varint(len(pair)) + pair for pair in pairs)


def pieces(groups: Iterable[Group], fragments: Fragments) -> list[Piece]:
    """Return the pieces of the groups, in their order."""
    return [_piece(run, fragments) for run in _runs(groups)]


def _piece(run: list[Group], fragments: Fragments) -> Piece:
    encoded = [_together(group, fragments) for group in run]
    if len(run) == 1:
        return Piece.of(run[0].codes, encoded[0])
    codes, combinations = combine([(group.codes, _size(group)) for group in run])
    return Piece.of(codes, [b"".join(map(list.__getitem__, encoded, one)) for one in combinations])


def _together(group: Group, fragments: Fragments) -> list[bytes]:
    """Return, for each code, the group's attributes."""

    def encode(places: list[int]) -> Iterable[bytes]:
        columns = [_column(attribute.name, choice, places, fragments) for attribute, choice in group.columns]
        columns += [[_selected(each[at], fragments) for at in places] for each in group.selected]
        return columns[0] if len(columns) == 1 else [b"".join(one) for one in zip(*columns, strict=True)]

    attribute, first = group.columns[0]
    if first.keys is None:
        return list(encode(list(range(len(first.values)))))
    return fragments.of(f"{attribute.name} …", first.keys, encode)


def _column(name: str, choice: Choice, places: list[int], fragments: Fragments) -> list[bytes]:
    values = [choice.values[at] for at in places]
    return fragments.of(name, values, lambda missing: [fragments.encoded([(name, values[at])]) for at in missing])


def _selected(pairs: Pairs | None, fragments: Fragments) -> bytes:
    """Encode labels and annotations; kept with their end and not by value: a text may be long, and any pod's own."""
    return fragments.encoded(pairs) if pairs else b""


def _runs(groups: Iterable[Group]) -> Iterator[list[Group]]:
    """Yield the groups in order, neighbours together where there are few values of each."""
    run: list[Group] = []
    for group in groups:
        if run and _few(run[-1]) and _few(group) and prod(map(_size, [*run, group])) <= LARGEST_KEY:
            run.append(group)
            continue
        if run:
            yield run
        run = [group]
    if run:
        yield run


def _few(group: Group) -> bool:
    return len(group.columns) == 1 and _size(group) <= FEW


def _size(group: Group) -> int:
    return len(group.columns[0][1].values)
