"""A figure: one JSON object a line."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["median_s", "say", "tell"]


def say(figure: str, value: float, unit: str) -> None:
    """Print one figure, three significant digits or whole numbers."""
    shown = round(value, 3) if value < 100 else round(value)
    print(json.dumps({"figure": figure, "value": shown, "unit": unit}), flush=True)


def tell(what: str) -> None:
    """Say on standard error what takes a while."""
    sys.stderr.write(f"bench: {what} …\n")


def median_s(work: Callable[[], Any], rounds: int = 7) -> float:
    """Return the median time of one call, in s."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
