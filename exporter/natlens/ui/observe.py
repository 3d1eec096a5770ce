"""Records of a file, printed as live ones are."""

from pathlib import Path

from natlens.errors import ConfigError
from natlens.otlp.jsonlines import parse_lines
from natlens.ui.outlet import TerminalOutlet
from natlens.ui.tail import tail

__all__ = ["show_file"]


def show_file(path: Path, outlet: TerminalOutlet, *, follow: bool) -> None:
    """Print the records of a file of OTLP JSON lines; with ``follow`` for ever.

    Raises :class:`ConfigError` naming the file, and the line that is not an OTLP request.
    """
    lines = tail(path, follow=follow)
    try:
        for request in parse_lines(lines):
            outlet.show(request)
    except ValueError as error:
        what = " ".join(str(error).split())
        raise ConfigError(f"--input {path}: {what}; give a file of natlens run --output or of the Collector") from error
