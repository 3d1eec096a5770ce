"""``natlens detach``: remove from this node's kernel what natlens left there."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from natlens.config import load
from natlens.errors import MissingCapability, NatlensError
from natlens.kernel.filters import clear_filters
from natlens.kernel.pinning import Pins
from natlens.ui.flags import Parser, add_flags, given_flags, refuse_unknown

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Remove pins and filters of agents that run no more, of this network namespace; say what that was.

    Raises NatlensError where an agent with `pin` runs, MissingCapability where the kernel refuses.
    """
    parser = Parser(prog="natlens detach", description=__doc__, usage="%(prog)s [option of natlens run …]")
    add_flags(parser)
    parsed, extra = parser.parse_known_args(list(arguments))
    refuse_unknown(parser, extra)
    path = Path(load(given_flags(parsed), os.environ).options.pin_path)
    try:
        removed = _remove(path)
    except PermissionError as error:
        raise MissingCapability(
            f"detach: {error}: run it as root or with CAP_NET_ADMIN and CAP_BPF, as the user that ran the agent"
        ) from error
    lines = [f"removed {count} {what}" for what, count in removed.items() if count]
    sys.stdout.write("\n".join([*(lines or ["nothing of natlens is attached or pinned here"]), *_others(path)]) + "\n")
    return 0


def _remove(path: Path) -> Counter[str]:
    """Return how many of each were removed."""
    removed: Counter[str] = Counter()
    pins = Pins(path, keep=False)
    if not pins.held:
        raise NatlensError(
            "detach: a natlens agent with pin runs in this network namespace: stop it first; nothing was removed"
        )
    try:
        removed["clsact filters"] = clear_filters(pinned=True)
        if pins.path.is_dir():
            removed["tcx links"] = len(list(pins.path.glob("links/*")))
            removed["pinned maps"] = len(list(pins.path.glob("maps_*/*")) + list(pins.path.glob("state*")))
            shutil.rmtree(pins.path)
    finally:
        pins.close()
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
    return removed


def _others(path: Path) -> Iterator[str]:
    """Tell of other network namespaces: their filters can only be removed in them."""
    for one in sorted(path.iterdir()) if path.is_dir() else ():
        yield f"{one} belongs to another network namespace: run natlens detach in it, or rm -r this if it is gone"
