"""How soon a command answers: what is not needed is not imported."""

import subprocess
from functools import partial

from tests.agent.process import NATLENS, clean_environment
from tests.bench.figure import median_s, say, tell

__all__ = ["helped"]


def helped() -> None:
    """``natlens --help``, a process each time."""
    tell("help")
    run = partial(subprocess.run, [*NATLENS, "--help"], stdout=subprocess.DEVNULL, check=True, env=clean_environment())
    say("help_s", median_s(run, rounds=5), "s")
