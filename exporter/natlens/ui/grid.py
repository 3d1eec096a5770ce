"""A table that is known as a whole: coloured and fitted on a terminal, plain aligned columns in a pipe or file."""

import os
from collections.abc import Sequence
from typing import NamedTuple, TextIO

from natlens.ui.rows import escape

__all__ = ["Title", "show"]


class Title(NamedTuple):
    """The head of a column; numbers stand on the right."""

    text: str
    right: bool = False


def show(titles: Sequence[Title], rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    """Print a table; cells are made safe to print, and none is cut."""
    safe = [[escape(cell) for cell in row] for row in rows]
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        _terminal(titles, safe, stream)
    else:
        _plain(titles, safe, stream)


def _plain(titles: Sequence[Title], rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    lines = [[title.text for title in titles], *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    encoding = stream.encoding or "utf-8"  # one that is not UTF-8 gets \u2264, not an exception
    for line in lines:
        cells = (
            cell.rjust(width) if title.right else cell.ljust(width)
            for title, cell, width in zip(titles, line, widths, strict=True)
        )
        text = "  ".join(cells).rstrip()
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def _terminal(titles: Sequence[Title], rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    from rich.console import Console  # only who looks pays for it: 8 MiB
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title.text, justify="right" if title.right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=stream, highlight=False, markup=False, emoji=False).print(table)
