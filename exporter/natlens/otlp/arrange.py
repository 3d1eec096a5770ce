"""The order of a record's attributes: numbers first, then what is chosen from few values, in groups.

OTLP gives attributes no order. This one lets an encoder put the numbers of all records into a matrix without holes, and
copy what belongs to one end of a connection in one piece.
"""

from collections.abc import Sequence
from typing import NamedTuple

from natlens.otlp import attributes
from natlens.otlp.attributes import Attribute
from natlens.otlp.batch import ROLES, Batch
from natlens.otlp.column import Choice, Codes, Digits, Numbers, Pairs, Value, listed
from natlens.otlp.columns import selected

__all__ = ["Arranged", "Group", "arrange"]


class Group(NamedTuple):
    """Attributes that are chosen together."""

    codes: Codes
    columns: list[tuple[Attribute, Choice]]
    selected: list[Sequence[Pairs | None]]
    """Attributes that are no rows of the table, of each code as the columns' values; they come after those."""


class Arranged(NamedTuple):
    """The columns of a batch in the order in which they are encoded."""

    always: list[tuple[Attribute, Numbers | Digits]]
    """What every connection has."""
    sometimes: list[tuple[Attribute, Numbers]]
    groups: list[Group]

    def rows(self, n: int) -> list[list[tuple[str, Value]]]:
        """Return the attributes of each of ``n`` connections, in order, one by one."""
        rows: list[list[tuple[str, Value]]] = [[] for _ in range(n)]
        for numbers in (self.always, self.sometimes):
            for attribute, column in numbers:
                _add(rows, attribute.name, listed(column))
        for group in self.groups:
            for attribute, choice in group.columns:
                _add(rows, attribute.name, listed(choice))
            for each in group.selected:
                for row, code in zip(rows, group.codes.tolist(), strict=True):
                    row.extend(each[code] or ())
        return rows


def _add(rows: list[list[tuple[str, Value]]], name: str, values: list[Value | None]) -> None:
    for row, value in zip(rows, values, strict=True):
        if value is not None:
            row.append((name, value))


def arrange(batch: Batch) -> Arranged:
    """Read every attribute of the table; columns with one ``codes`` array are one group."""
    arranged, groups = Arranged([], [], []), dict[int, Group]()
    for attribute in attributes.ATTRIBUTES:
        match attribute.read(batch):
            case Choice(codes, _, _) as choice:
                groups.setdefault(id(codes), Group(codes, [], [])).columns.append((attribute, choice))
            case Numbers(_, present) as numbers if present is not None:
                arranged.sometimes.append((attribute, numbers))
            case Numbers() | Digits() as column:
                arranged.always.append((attribute, column))
    for role, field in ROLES.items():
        groups[id(getattr(batch, field).codes)].selected.append(selected(role, batch))
    arranged.groups.extend(groups.values())
    return arranged
