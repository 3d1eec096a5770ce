"""File, environment and command line, joined to effective options."""

import math
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from reprlib import Repr
from typing import Any, Generic, NamedTuple, TypeVar, overload
from urllib.parse import unquote

import msgspec
from msgspec import inspect

from natlens.config.describe import Option, describe
from natlens.config.file import read_yaml
from natlens.config.options import SIZE, Options
from natlens.errors import ConfigError

__all__ = ["Loaded", "load"]

CONFIG = "NATLENS_CONFIG"
OTHERS = {CONFIG, "NATLENS_CACHE"}  # variables that are no options; the second is where tests keep the Collector

HIDDEN = "a value not shown here"  # headers carry tokens

UNITS = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

# The kubelet puts these into every pod's environment for each Service whose name starts with "natlens".
KUBELET = re.compile(r"NATLENS_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")

# Shown values are bounded: a few lines of YAML aliases can stand for billions.
SHORT = Repr()
SHORT.maxstring = SHORT.maxother = SHORT.maxlong = 60

Model = TypeVar("Model", bound=msgspec.Struct)


class Loaded(NamedTuple, Generic[Model]):
    """Effective options and, for each, where its value came from."""

    options: Model
    origins: dict[str, str]


class _Given(NamedTuple):
    name: str
    value: object
    where: str  # as the user wrote it: "--interval", "NATLENS_INTERVAL", "natlens.yaml:3: interval"
    as_text: bool


@overload
def load(flags: Mapping[str, object], environ: Mapping[str, str]) -> Loaded[Options]: ...


@overload
def load(flags: Mapping[str, object], environ: Mapping[str, str], model: type[Model]) -> Loaded[Model]: ...


def load(flags: Mapping[str, object], environ: Mapping[str, str], model: type[msgspec.Struct] = Options) -> Loaded[Any]:
    """Join all sources to effective options.

    ``flags`` maps field names (and ``config``: the file's path) to what the command line said: text
    or, for a switch, a bool. Raises :class:`ConfigError` naming the key, the value and the way out.
    """
    options = {option.name: option for option in describe(model)}
    path = flags.get("config") or environ.get(CONFIG)
    layers = (
        _from_file(Path(str(path)), options) if path else iter(()),
        _from_environment(environ, options),
        (_Given(name, value, options[name].flag, True) for name, value in flags.items() if name != "config"),
    )
    values: dict[str, object] = {}
    origins = dict.fromkeys(options, "default")
    for layer in layers:
        for given in layer:
            values[given.name] = _value(given, options[given.name])
            origins[given.name] = given.where.removesuffix(f": {given.name}")
    return Loaded(msgspec.convert(values, model), origins)


def _from_environment(environ: Mapping[str, str], options: Mapping[str, Option]) -> Iterator[_Given]:
    by_variable = {option.variable: option for option in options.values()}
    for variable, text in sorted(environ.items()):
        if option := by_variable.get(variable):
            if text:  # set to nothing means not set, as OpenTelemetry's variables have it
                yield _Given(option.name, text, variable, True)
        elif variable.startswith("NATLENS_") and variable not in OTHERS and not KUBELET.fullmatch(variable):
            raise ConfigError(_unknown(variable, text, "variable", by_variable))


def _from_file(path: Path, options: Mapping[str, Option]) -> Iterator[_Given]:
    document, lines = read_yaml(path)
    if document is None:
        return
    if not isinstance(document, dict):
        raise ConfigError(
            f"{path}: expected 'option: value' lines, found {_shown(document)}; see docs/configuration.md"
        )
    for key, value in document.items():
        where = f"{path}:{lines.get(key, 1)}"
        if key not in options:
            raise ConfigError(f"{where}: {_unknown(str(key), value, 'option', options)}")
        yield _Given(key, value, f"{where}: {key}", False)


def _unknown(name: str, value: object, what: str, known: Mapping[str, Option]) -> str:
    close = get_close_matches(name, known, 1, 0.6)
    shown = HIDDEN if close and known[close[0]].secret else f"value {_shown(value)}"
    out = f"did you mean {close[0]}?" if close else "natlens run --help lists all"
    return f"unknown {what} {_shown(name)} ({shown}); {out}"


def _shown(value: object) -> str:
    return SHORT.repr(value)


def _value(given: _Given, option: Option) -> object:
    """Return the value in the option's type; raise ConfigError if it is not one."""
    try:
        raw = _from_text(given.value, option) if given.as_text else given.value
        if option.unit == "bytes" and isinstance(raw, str):
            raw = _size(raw)
        value = msgspec.convert(raw, option.type, strict=not given.as_text)
        if isinstance(value, float):
            math.trunc(value)  # refuses inf and nan, which pass every bound
    except (ValueError, OverflowError) as error:  # msgspec's ValidationError is a ValueError
        shown = HIDDEN if option.secret else _shown(given.value)
        raise ConfigError(f"{given.where} is {shown}; it must be {option.expected}") from error
    return value


def _from_text(value: object, option: Option) -> object:
    """Split what a variable or flag says into lists and mappings."""
    if not isinstance(value, str):
        return value
    if option.nullable and not value:
        return None
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(option.kind, inspect.ListType):
        return parts
    if isinstance(option.kind, inspect.DictType):
        pairs = [part.partition("=") for part in parts]
        if not all(equals for _, equals, _ in pairs):
            raise ValueError(value)
        return {name.strip(): unquote(text.strip()) for name, _, text in pairs}
    return value


def _size(text: str) -> int:
    match = re.fullmatch(SIZE, text.strip())
    if match is None:
        raise ValueError(text)
    return int(float(match[1]) * UNITS[match[2]]) if "." in match[1] else int(match[1]) * UNITS[match[2]]
