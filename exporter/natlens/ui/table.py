"""Rows to a stream: coloured and fitted on a terminal, plain aligned columns in a pipe or file."""

import os
import shutil
from collections.abc import Iterable
from typing import Protocol, TextIO

from natlens.ui.records import Record
from natlens.ui.rows import COLUMNS, Column, json_line, row

__all__ = ["Printer", "printer"]

FIXED = 16  # columns up to this width do not shrink
STYLES = {"new": "green", "closed": "dim", "reset": "red", "unanswered": "yellow"}


class Printer(Protocol):
    """Prints records as they come."""

    def show(self, records: Iterable[Record]) -> None:
        """Print and flush; raises ``BrokenPipeError`` when nobody reads any more."""
        ...


def printer(style: str, stream: TextIO) -> Printer:
    """Return what prints in the given format (``table``, ``wide`` or ``json``)."""
    if style == "json":
        return JsonLines(stream)
    columns = COLUMNS[style]
    return Terminal(columns, stream) if stream.isatty() and _fits(columns, stream) else Plain(columns, stream)


def _fits(columns: tuple[Column, ...], stream: TextIO) -> bool:
    """Tell whether a terminal has room for half of each long cell; narrower ones wrap plain lines better."""
    needed = sum(column.width if column.width <= FIXED else column.width // 2 for column in columns)
    able = (stream.encoding or "").lower().replace("-", "") == "utf8" and os.environ.get("TERM") != "dumb"
    return able and shutil.get_terminal_size((80, 24)).columns >= needed + 2 * (len(columns) - 1)


class JsonLines:
    """One JSON object a record."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, records: Iterable[Record]) -> None:
        """Print each record as a line."""
        for record in records:
            self._stream.write(json_line(record) + "\n")
        self._stream.flush()


class Plain:
    """A header once, then one line a record; a long cell pushes the rest of its line, nothing is cut."""

    def __init__(self, columns: tuple[Column, ...], stream: TextIO) -> None:
        self._columns = columns
        self._stream = stream
        self._begun = False

    def show(self, records: Iterable[Record]) -> None:
        """Print each record as a line."""
        if not self._begun:
            self._write([column.title for column in self._columns])
            self._begun = True
        for record in records:
            self._write(row(record, self._columns))
        self._stream.flush()

    def _write(self, cells: list[str]) -> None:
        padded = (
            cell.rjust(column.width) if column.right else cell.ljust(column.width)
            for cell, column in zip(cells, self._columns, strict=True)
        )
        line = "  ".join(padded).rstrip()
        encoding = self._stream.encoding or "utf-8"  # a terminal without UTF-8 gets \u21d2, not an exception
        self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")


class Terminal:
    """A table as wide as the terminal; names fold into several lines rather than being cut."""

    def __init__(self, columns: tuple[Column, ...], stream: TextIO) -> None:
        from rich.console import Console  # only who looks pays for it: 8 MiB

        self._columns = columns
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=False)
        self._begun = False

    def show(self, records: Iterable[Record]) -> None:
        """Print a batch; its columns stand where those of earlier batches do."""
        from rich.table import Table
        from rich.text import Text

        rows = [row(record, self._columns) for record in records]
        if not rows and self._begun:
            return
        table = Table(box=None, show_header=not self._begun, expand=True, pad_edge=False, header_style="bold")
        for column in self._columns:
            fixed = column.width <= FIXED  # the rest share what is left, in proportion to what they need
            table.add_column(
                column.title,
                width=column.width if fixed else None,
                ratio=None if fixed else column.width,
                justify="right" if column.right else "left",
                overflow="fold",
            )
        for cells in rows:
            table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in cells))
        self._console.print(table)
        self._begun = True
