"""What the model says about each option, for files, flags, help, schema and documentation."""

from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec
from msgspec import inspect

from natlens.config.options import SIZE, Options

__all__ = ["Option", "amount", "describe", "schema"]

MEASURES = {"s": " of seconds", "bytes": " of bytes, or a size such as 64MiB,"}


class Option(NamedTuple):
    """One field of the model, as files, flags and documentation need it."""

    name: str
    type: Any
    kind: inspect.Type
    nullable: bool
    default: Any
    description: str
    unit: str
    secret: bool
    rare: bool

    @property
    def flag(self) -> str:
        """The command line's name for it."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment's name for it."""
        return "NATLENS_" + self.name.upper()

    @property
    def summary(self) -> str:
        """The first sentence of the description."""
        return self.description.partition(". ")[0].rstrip(".")

    @property
    def choices(self) -> tuple[str, ...]:
        """The words to choose from, in the model's order; none if any value will do."""
        return _choices(self.type)

    @property
    def expected(self) -> str:
        """What a value must look like, in words."""
        words = "one of " + ", ".join(self.choices) if self.choices else _expected(self.kind, self.unit)
        return words + (" or nothing" if self.nullable else "")


def describe(model: type[msgspec.Struct] = Options) -> list[Option]:
    """Return the options of ``model`` in the order of its fields."""
    fields = inspect.type_info(model).fields  # type: ignore[attr-defined]  # of a Struct it is a StructType
    types = {field.name: field.type for field in msgspec.structs.fields(model)}
    return [_option(field, types[field.name]) for field in fields]


def _option(field: inspect.Field, annotation: Any) -> Option:  # a type expression
    kind = field.type
    extra: dict[str, Any] = {}
    words: dict[str, Any] = {}
    if isinstance(kind, inspect.Metadata):
        extra, words, kind = kind.extra or {}, kind.extra_json_schema or {}, kind.type
    nullable = isinstance(kind, inspect.UnionType)
    if isinstance(kind, inspect.UnionType):
        kind = next(one for one in kind.types if not isinstance(one, inspect.NoneType))
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    description = words.get("description", "")
    marks = ("secret" in extra, "rare" in extra)
    return Option(field.name, annotation, kind, nullable, default, description, extra.get("unit", ""), *marks)


def _choices(annotation: object) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((found for part in get_args(annotation) if (found := _choices(part))), ())


def _expected(kind: inspect.Type, unit: str) -> str:
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            whole = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
            return whole + MEASURES.get(unit, "") + _bounds(kind, unit)
        case inspect.ListType():
            return "a list of text, in a variable or flag separated by commas"
        case inspect.DictType():
            return "a mapping of text to text, in a variable or flag name=value separated by commas"
    return "text"


def _bounds(kind: inspect.IntType | inspect.FloatType, unit: str) -> str:
    words = (("of at least", kind.ge), ("above", kind.gt), ("and at most", kind.le), ("and below", kind.lt))
    return "".join(f" {word} {amount(bound, unit)}" for word, bound in words if bound is not None)


def amount(value: float, unit: str = "") -> str:
    """Return a number as people write it: bytes in the largest unit that divides them (``64MiB``)."""
    if unit == "bytes" and value:
        for name, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
            if value % size == 0:
                return f"{value // size}{name}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def schema(model: type[msgspec.Struct] = Options) -> dict[str, Any]:
    """Return the JSON schema of the file; unknown keys are not allowed."""
    found = msgspec.json.schema(model)
    properties = found["$defs"][model.__name__]["properties"]
    for option in describe(model):
        if option.unit == "bytes":  # msgspec knows the number only
            properties[option.name] |= {"type": ["integer", "string"], "pattern": f"^{SIZE}$"}
    return found
