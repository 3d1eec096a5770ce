"""Lines of a file, as it grows."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from natlens.errors import ConfigError

__all__ = ["tail"]

POLL_S = 0.2


def tail(path: Path, *, follow: bool) -> Iterator[str]:
    """Yield the lines of ``path`` (``-``: standard input), with ``follow`` also those still to come.

    Following starts over when the file is replaced or cut, as the Collector's rotation does, and
    yields a line only once its end is written. Raises :class:`ConfigError` if it cannot be read.
    """
    if str(path) == "-":
        yield from sys.stdin
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise ConfigError(
            f"--input {path}: cannot be read ({error.strerror}); give a file of OTLP JSON lines"
        ) from error
    yield from _follow(path, file) if follow else _whole(file)


def _whole(file: IO[bytes]) -> Iterator[str]:
    with file:
        for line in file:
            yield _text(line)


def _follow(path: Path, file: IO[bytes]) -> Iterator[str]:
    try:
        while True:
            yield from _complete_lines(file)
            if (newer := _replacement(path, file)) is not None:
                yield from _complete_lines(file)  # what was written before the file was moved away
                file.close()
                file = newer
            else:
                time.sleep(POLL_S)
    finally:
        file.close()


def _complete_lines(file: IO[bytes]) -> Iterator[str]:
    """Yield what is there; a line without its end stays for the next time."""
    while line := file.readline():
        if not line.endswith(b"\n"):
            file.seek(-len(line), os.SEEK_CUR)
            return
        yield _text(line)


def _replacement(path: Path, file: IO[bytes]) -> IO[bytes] | None:
    try:
        now, ours = path.stat(), os.fstat(file.fileno())
        same = (now.st_dev, now.st_ino) == (ours.st_dev, ours.st_ino) and now.st_size >= file.tell()
        return None if same else path.open("rb")
    except OSError:  # between the two steps of a rotation
        return None


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")
