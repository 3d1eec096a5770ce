"""The order of a record's attributes: numbers first, then what is chosen from few values, in groups.

OTLP gives attributes no order. This one lets an encoder put the numbers of all records into a matrix without holes, and
copy what belongs to one end of a connection in one piece.
"""

from typing import NamedTuple

from natlens.otlp import attributes
from natlens.otlp.attributes import Attribute
from natlens.otlp.batch import Batch
from natlens.otlp.column import Choice, Codes, Column, Digits, Numbers

__all__ = ["Arranged", "Group", "arrange"]


class Group(NamedTuple):
    """Attributes that are chosen together."""

    codes: Codes
    columns: list[tuple[Attribute, Choice]]


class Arranged(NamedTuple):
    """The columns of a batch in the order in which they are encoded."""

    always: list[tuple[Attribute, Numbers | Digits]]
    """What every connection has."""
    sometimes: list[tuple[Attribute, Numbers]]
    groups: list[Group]

    def columns(self) -> list[tuple[Attribute, Column]]:
        """Return all of them."""
        return [*self.always, *self.sometimes, *(column for group in self.groups for column in group.columns)]


def arrange(batch: Batch) -> Arranged:
    """Read every attribute of the table; columns with one ``codes`` array are one group."""
    arranged, groups = Arranged([], [], []), dict[int, Group]()
    for attribute in attributes.ATTRIBUTES:
        match attribute.read(batch):
            case Choice(codes, _, _) as choice:
                groups.setdefault(id(codes), Group(codes, [])).columns.append((attribute, choice))
            case Numbers(_, present) as numbers if present is not None:
                arranged.sometimes.append((attribute, numbers))
            case Numbers() | Digits() as column:
                arranged.always.append((attribute, column))
    arranged.groups.extend(groups.values())
    return arranged
