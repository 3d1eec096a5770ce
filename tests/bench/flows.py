"""What the join costs: 100,000 connections in one window, half of them translated."""

from natlens.flows.join import Carry, join
from natlens.flows.report import Limits
from natlens.kernel.windows import Window
from tests.bench.figure import median_s, say, tell
from tests.bench.shapes import Cluster
from tests.bench.windows import SECOND, half_and_half, rows_and_translations

__all__ = ["joined"]

LIMITS = Limits(30 * SECOND, 600 * SECOND, SECOND // 4, 10**6)


def joined() -> None:
    """One core; each round begins with nothing known."""
    tell("the join")
    rows, translations = rows_and_translations(half_and_half(Cluster()), 10 * SECOND)
    window = Window(rows, translations, 0, 10 * SECOND, 0)
    known = join(window, Carry(), LIMITS)
    made = len(known.connections)
    say("join_connections_per_s", made / median_s(lambda: join(window, Carry(), LIMITS)), "1/s")
    say("join_known_connections_per_s", made / median_s(lambda: join(window, known.carry, LIMITS)), "1/s")
