"""Flags from the options model."""

import argparse
import re
import shutil
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

import msgspec
from msgspec import inspect

from natlens.config import Option, Options, describe
from natlens.config.describe import amount
from natlens.errors import ConfigError

__all__ = ["Parser", "add_flags", "given_flags", "refuse_unknown"]

WIDTH = 100


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are :class:`ConfigError`, and whose help fits one screen."""

    def __init__(self, **settings: object) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_help, **settings)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print and exit for."""
        raise ConfigError(f"{_line(message)}; {self.prog} --help lists all")


def _help(prog: str) -> argparse.HelpFormatter:
    width = min(shutil.get_terminal_size((WIDTH, 50)).columns, WIDTH)
    return argparse.HelpFormatter(prog, max_help_position=32, width=width - 1)


def _line(message: str) -> str:
    return message if message.isprintable() else ascii(message)[1:-1]


def add_flags(parser: argparse.ArgumentParser, model: type[msgspec.Struct] = Options) -> None:
    """Add one flag for each option, besides ``--config`` and ``--print-config``.

    ``--help`` shows the usual ones, ``--help-all`` all.
    """
    group = parser.add_argument_group("options (also as NATLENS_* variables and in the file)")
    group.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help="YAML file of options")
    group.add_argument("--print-config", action="store_true", help="print the effective options and where each is from")
    rare = {}
    for option in describe(model):
        settings: dict[str, Any] = {"dest": option.name, "default": argparse.SUPPRESS, "help": _summary(option)}
        if isinstance(option.kind, inspect.BoolType):
            settings["action"] = argparse.BooleanOptionalAction
        else:
            settings["metavar"] = _metavar(option)
        added = group.add_argument(option.flag, **settings)
        if option.rare:
            rare[added] = added.help
            added.help = argparse.SUPPRESS
    if rare:
        text = f"show {len(rare)} more options, for special cases"
        parser.add_argument("--help-all", action=_HelpAll, rare=rare, help=text)


class _HelpAll(argparse.Action):
    """Shows what ``--help`` leaves out, too."""

    def __init__(self, *, rare: dict[argparse.Action, str | None], **settings: Any) -> None:
        super().__init__(nargs=0, default=argparse.SUPPRESS, **{**settings, "dest": argparse.SUPPRESS})
        self._rare = rare

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        for action, text in self._rare.items():
            action.help = text
        parser.print_help()
        parser.exit()


def _metavar(option: Option) -> str:
    by_unit = {"s": "S", "bytes": "SIZE", "path": "FILE"}
    if option.choices:
        return "{" + ",".join(option.choices) + "}"
    match option.kind:
        case inspect.ListType():
            return "A,B,…"
        case inspect.DictType():
            return "NAME=VALUE,…"
        case inspect.IntType() | inspect.FloatType():
            return by_unit.get(option.unit, "N")
    return by_unit.get(option.unit, "TEXT")


def _summary(option: Option) -> str:
    text = option.summary[:1].lower() + option.summary[1:] if not option.summary[1:2].isupper() else option.summary
    return (text + default_text(option)).replace("%", "%%")


def default_text(option: Option) -> str:
    """Return `` (10)`` where there is a default worth showing."""
    value = option.default
    if value is None or value is False or value in ([], {}):
        return ""
    if isinstance(value, list):
        value = ",".join(value)
    return f" ({amount(value, option.unit) if isinstance(value, int | float) else value})"


def given_flags(parsed: argparse.Namespace, model: type[msgspec.Struct] = Options) -> dict[str, object]:
    """Return what the command line said, for :func:`natlens.config.load`."""
    names = {"config", *(option.name for option in describe(model))}
    return {name: value for name, value in vars(parsed).items() if name in names}


def refuse_unknown(parser: argparse.ArgumentParser, extra: Sequence[str]) -> None:
    """Raise :class:`ConfigError` for the first of the arguments that nothing took."""
    if not extra:
        return
    name = re.split("=", extra[0], maxsplit=1)[0]
    close = get_close_matches(name, list(parser._option_string_actions), 1, 0.6)
    out = f"did you mean {close[0]}?" if close else f"{parser.prog} --help lists all"
    raise ConfigError(f"unknown argument {_line(repr(name[:60]))}; {out}")
