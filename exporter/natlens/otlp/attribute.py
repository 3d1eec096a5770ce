"""Rows of the attribute tables."""

from typing import Literal, NamedTuple

from natlens.otlp.column import Value
from natlens.otlp.columns import Read

__all__ = ["Attribute", "Template", "Type"]

Type = Literal["string", "int", "double", "bool", "string[]"]


class Attribute(NamedTuple):
    """What an attribute is called, what it means and how a batch's column of it is read."""

    name: str
    type: Type
    brief: str
    example: Value
    read: Read


class Template(NamedTuple):
    """Attributes of one kind, as many as were asked for: ``name`` and then a key. All are strings."""

    name: str
    brief: str
    example: str
    type: Type = "string"
