"""Every name that the source adds to Health, found by reading it."""

import ast
from collections.abc import Iterator
from pathlib import Path

__all__ = ["names_added"]

SOURCE = Path(__file__).parents[2] / "exporter" / "natlens"
ENDINGS = {
    "add": ("",),
    "set": ("",),
    "time": ("_count", "_time_us"),
    "timed": ("_count", "_time_us"),
    "mark": ("_age_s",),
}


def names_added(root: Path = SOURCE) -> dict[str, set[str]]:
    """Return name → files; what is not literal in a name is ``*``, and a parameter is what its callers give."""
    found: dict[str, set[str]] = {}
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name in _names(tree):
            found.setdefault(name, set()).add(str(path.relative_to(root)))
    return found


def _names(tree: ast.Module) -> Iterator[str]:
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and (endings := _endings(call)):
                    for name in _texts(call.args[0], function, tree):
                        yield from (name + ending for ending in endings)


def _endings(call: ast.Call) -> tuple[str, ...]:
    """Return what a call adds behind the name that it is given; nothing where it is no call of Health."""
    at = call.func
    if not isinstance(at, ast.Attribute) or at.attr not in ENDINGS or not call.args:
        return ()
    owner = at.value.attr if isinstance(at.value, ast.Attribute) else getattr(at.value, "id", "")
    return ENDINGS[at.attr] if owner.strip("_") == "health" else ()


def _texts(name: ast.expr, function: ast.AST, tree: ast.Module) -> Iterator[str]:
    match name:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in parts)
        case ast.Name(id=parameter) if isinstance(function, ast.FunctionDef):
            given = [one.arg for one in function.args.args if one.arg != "self"].index(parameter)
            for call in ast.walk(tree):
                called = call.func.attr if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) else None
                if called == function.name and isinstance(call, ast.Call):
                    yield from _texts(call.args[given], ast.Module([], []), tree)
        case ast.Name():
            return  # in a function around the one that takes it: seen there
        case _:
            raise AssertionError(f"line {name.lineno}: a name of Health that nobody can look for: {ast.unparse(name)}")
