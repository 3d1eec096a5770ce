"""Answers that a connection without NAT claims back from a translated one of the same port.

A port was used towards a Service, and towards the pod behind it before or after that. No entry goes by the packets
that the client then sent to the pod itself; but the pod's answers carry the REPLY tuple of the Service's entry.
Time tells whose they are: a row that lies outside that entry's life, but with unexplained packets in the other
direction, belongs to these.
"""

import numpy as np
import numpy.typing as npt

from natlens.flows.hashing import hash_tuples
from natlens.flows.live import Live
from natlens.flows.match import SLACK_NS, Matches, equal, outlives
from natlens.flows.tuples import inverse, same

__all__ = ["release"]

Rows = npt.NDArray[np.void]


def release(rows: Rows, entries: Live, matches: Matches) -> Matches:
    """Return the matches without those of rows that an unexplained row has the better right to."""
    unexplained = np.ones(len(rows), np.bool_)
    unexplained[matches.row] = False
    outside = np.flatnonzero(outlives(rows["value"], entries, matches.row, matches.entry))
    if not len(outside) or not unexplained.any():
        return matches
    claims = rows[unexplained]
    answers, contested = inverse(claims["key"]["tuple"]), rows[matches.row[outside]]
    claim, at = equal(hash_tuples(answers), hash_tuples(contested["key"]["tuple"]))
    equals = same(answers[claim], contested["key"]["tuple"][at])
    together = equals & _overlap(claims["value"][claim], contested["value"][at])
    keep = ~np.isin(matches.row, matches.row[outside[at[together]]])
    return Matches(matches.row[keep], matches.entry[keep], matches.reverse[keep])


def _overlap(one: Rows, other: Rows) -> npt.NDArray[np.bool_]:
    """Tell where two rows (their values) were alive at the same time."""
    slack = np.uint64(SLACK_NS)
    result: npt.NDArray[np.bool_] = (one["first_ns"] <= other["last_ns"] + slack) & (
        other["first_ns"] <= one["last_ns"] + slack
    )
    return result
