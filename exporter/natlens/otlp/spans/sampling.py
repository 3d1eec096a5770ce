"""Consistent probability sampling (OpenTelemetry specification, "TraceState: Probability Sampling").

A trace is chosen where its randomness, the low 56 bits of its id, is not below the rejection threshold. They are a hash
(``docs/adr/0003-flow-id.md``), and both nodes of a connection have the same: so every node chooses the same
connections, and a smaller ratio chooses some of those that a larger one does.
"""

from math import frexp

import numpy as np

from natlens.otlp.column import Mask
from natlens.otlp.spans.ids import Words

__all__ = ["NOTHING", "chosen", "threshold", "trace_state"]

BITS, DIGITS = 56, 14
NOTHING = 1 << BITS
"""The threshold that no trace reaches."""
PRECISION = 4
"""Hexadecimal digits of a threshold beside leading ``f``: what the specification recommends."""


def threshold(ratio: float) -> int:
    """Return the threshold that ``ratio`` (0 to 1) of all traces reach: off by 2**-13 of it at most.

    Rounded as the specification's ``probability_to_threshold_with_precision`` does, in integers. Below 2**-56, the
    least probability that there is, nothing is chosen.
    """
    exact = NOTHING - round(ratio * NOTHING)
    _, exponent = frexp(ratio)
    digits = max(1, min(DIGITS, PRECISION + exponent // -4))
    unit = 1 << 4 * (DIGITS - digits)
    rounded = (exact + unit // 2) // unit * unit
    return rounded if rounded < NOTHING else exact


def chosen(trace: Words, least: int) -> Mask:
    """Return which traces (shape (n, 2), as :func:`~natlens.otlp.spans.ids.trace_words` has them) reach a threshold."""
    reached: Mask = trace[:, 1] & np.uint64(NOTHING - 1) >= np.uint64(least)
    return reached


def trace_state(least: int) -> str:
    """Return the tracestate of spans that were chosen by a threshold; "" where none was turned down.

    ``th`` has the threshold's hexadecimal digits without the zeros at the end.
    """
    return f"ot=th:{least:0{DIGITS}x}".rstrip("0") if least else ""
