"""How many different combinations of attribute values records have: what each set of attributes would cost."""

import struct
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from natlens.otlp.column import LARGEST_KEY
from natlens.otlp.metrics.sets import RESPONDER
from natlens.ui.records import Record, Value
from natlens.ui.selection import Selection, answered

__all__ = ["MOST", "TOP", "Combinations", "Cost", "Part"]

MOST = 1_000_000
"""Combinations of one set that are counted; each takes about 110 octets, and as many again while it is told."""
TOP = 3

Codes = npt.NDArray[np.uint32]


class Part(NamedTuple):
    """What one attribute of a set costs."""

    attribute: str
    without: int
    """Combinations, each node's counted for itself, that the set would have without it."""
    top: tuple[tuple[str | None, int], ...]
    """The values (None: absent) that are in most combinations, and in how many; at most :data:`TOP`."""


class Cost(NamedTuple):
    """What one set of attributes costs."""

    name: str
    attributes: tuple[str, ...]
    by_node: dict[str, int]
    """``service.instance.id`` → combinations on that node."""
    distinct: int
    """Combinations over all nodes: what a sum over nodes leaves."""
    complete: bool
    """False where there are more than were counted: every number is then the least that it can be."""
    parts: tuple[Part, ...]
    """What saves most comes first."""

    @property
    def total(self) -> int:
        """Combinations, each node's counted for itself."""
        return sum(self.by_node.values())

    @property
    def busiest(self) -> int:
        """Combinations on the node that has most."""
        return max(self.by_node.values(), default=0)


class _Set:
    """Rows of codes, one a combination; the first code is the node's."""

    def __init__(self, name: str, attributes: tuple[str, ...]) -> None:
        self.name, self.attributes = name, attributes
        self.pack = struct.Struct(f"={1 + len(attributes)}I").pack
        self.rows: set[bytes] = set()
        self.complete = True

    def codes(self) -> Codes:
        """Return the rows, shape (n, 1 + attributes)."""
        return np.frombuffer(b"".join(self.rows), np.uint32).reshape(-1, 1 + len(self.attributes))


class Combinations:
    """Counts, over any number of records and nodes, the combinations of each of ``sets`` (name → attributes).

    A record counts if it is in the ``selection``, and primary where ``primary_only``. Memory is bounded: a set
    that has more than ``most`` combinations is not counted further. Values are told apart as text, as stores do.
    """

    def __init__(
        self,
        sets: Mapping[str, tuple[str, ...]],
        selection: Selection | None = None,
        *,
        primary_only: bool = True,
        most: int = MOST,
    ) -> None:
        self._sets = [_Set(name, attributes) for name, attributes in sets.items()]
        self._selection, self._primary_only, self._most = selection or Selection(), primary_only, most
        self._values: dict[str, dict[str | None, int]] = {}
        self._nodes: dict[str, int] = {}
        self._count_open()
        self.records = 0
        """All that were seen, and of these those that ``counted``."""
        self.counted = 0
        self.begin_ns = self.end_ns = 0
        """Unix time of the first and the last record that counted."""

    def _count_open(self) -> None:
        """Read from now on what the sets need that are still counted."""
        self._open = [one for one in self._sets if one.complete]
        names = list(dict.fromkeys(name for one in self._open for name in one.attributes))
        self._tables = [self._values.setdefault(name, {None: 0}) for name in names]
        self._read = {role: [_field(name, role) for name in names] for role in ("destination", "destination.nat")}
        self._pick = [itemgetter(0, *(1 + names.index(name) for name in one.attributes)) for one in self._open]

    @property
    def nodes(self) -> tuple[str, ...]:
        """``service.instance.id`` of each node that sent a record that counted; empty where one has none."""
        return tuple(self._nodes)

    def add(self, node: str, records: Iterable[Record]) -> None:
        """Count the records of a node."""
        for record in records:
            self.records += 1
            other = self._primary_only and record.attributes.get("flow.primary") is False
            if not other and self._selection(record.attributes):
                self._note_time(record.time_ns)
                self.counted += 1
                self._add(self._nodes.setdefault(node, len(self._nodes)), record.attributes)

    def _note_time(self, time_ns: int) -> None:
        self.begin_ns = min(self.begin_ns, time_ns) if self.counted else time_ns
        self.end_ns = max(self.end_ns, time_ns)

    def _add(self, node: int, attributes: Mapping[str, Value]) -> None:
        codes = [node]
        for name, table in zip(self._read[answered(attributes)], self._tables, strict=True):
            codes.append(table.setdefault(_text(attributes.get(name)), len(table)))
        full = False
        for one, pick in zip(self._open, self._pick, strict=True):
            row = one.pack(*pick(codes))
            if len(one.rows) < self._most:
                one.rows.add(row)
            elif row not in one.rows:
                one.complete, full = False, True
        if full:
            self._count_open()

    def costs(self) -> list[Cost]:
        """Return what each set costs, in the order in which they were given."""
        return [self._cost(one) for one in self._sets]

    def _cost(self, one: _Set) -> Cost:
        codes = one.codes()
        by_node = np.bincount(codes[:, 0], minlength=len(self._nodes)).tolist()
        columns = range(1, codes.shape[1])
        parts = [
            Part(name, _distinct(np.delete(codes, column, 1)), _top(codes[:, column], self._values[name]))
            for name, column in zip(one.attributes, columns, strict=True)
        ]
        return Cost(
            one.name,
            one.attributes,
            dict(zip(self._nodes, by_node, strict=True)),
            _distinct(codes[:, 1:]),
            one.complete,
            tuple(sorted(parts, key=lambda part: part.without)),
        )


def _field(name: str, role: str) -> str:
    return role + name.removeprefix(RESPONDER) if name.startswith(f"{RESPONDER}.") else name


def _text(value: Value) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None or isinstance(value, str) else str(value)


def _distinct(codes: Codes) -> int:
    """Return how many different rows there are."""
    key, size = np.zeros(len(codes), np.int64), 1
    for column in codes.T:
        more = int(column.max(initial=0)) + 1
        if size * more > LARGEST_KEY:
            different, key = np.unique(key, return_inverse=True)
            size = len(different)
        key = key * more + column
        size *= more
    key.sort()  # np.unique without an inverse hashes since NumPy 2.3: 60 times as long for a million
    return len(key) and 1 + int(np.count_nonzero(key[1:] != key[:-1]))


def _top(codes: Codes, table: Mapping[str | None, int]) -> tuple[tuple[str | None, int], ...]:
    counts = np.bincount(codes, minlength=len(table)).tolist()
    found = sorted(zip(counts, table, strict=True), key=lambda one: (-one[0], one[1] or ""))[:TOP]
    return tuple((value, count) for count, value in found if count)
