"""Answers that a connection without NAT claims back from a translated one of the same port.

A port was used towards a Service, and towards the pod behind it before or after that. No entry goes by the packets
that the client then sent to the pod itself; but the pod's answers carry the REPLY tuple of the Service's entry.
Time tells whose they are: a row that lies outside that entry's life, but with unexplained packets in the other
direction on the same side of it, belongs to these.

What the host itself sends to the pod carries the same tuple after NAT as without: there, a SYN outside the entry's life
tells. And a SYN at the very end of a window may be that of an entry which only the next window tells of.
"""

import numpy as np
import numpy.typing as npt

from natlens.flows.hashing import hash_tuples
from natlens.flows.live import Live
from natlens.flows.match import SLACK_NS, Matches, equal, opens, outlives
from natlens.flows.tuples import inverse, same
from natlens.kernel.structs import ConntrackWord, Side

__all__ = ["release"]

Rows = npt.NDArray[np.void]


def release(rows: Rows, entries: Live, matches: Matches, young_ns: int) -> Matches:
    """Return the matches without those of rows that another connection has the better right to.

    What began after ``young_ns`` may wait for the next window.
    """
    outside = np.flatnonzero(outlives(rows["value"], entries, matches.row, matches.entry))
    if not len(outside):
        return matches
    contested = rows[matches.row[outside]]
    late = contested["value"]["first_ns"] > np.maximum(young_ns, entries["seen_ns"][matches.entry[outside]])
    young = late & (contested["value"]["conntrack"] == ConntrackWord.UNASKED)
    begins = outside[opens(contested) & (young | (contested["key"]["side"] == Side.EGRESS))]
    unexplained = np.ones(len(rows), np.bool_)
    unexplained[matches.row] = False
    unexplained[matches.row[begins]] = True
    if not unexplained.any():
        return matches
    claims = rows[unexplained]
    answers = inverse(claims["key"]["tuple"])
    claim, at = equal(hash_tuples(answers), hash_tuples(contested["key"]["tuple"]))
    equals = same(answers[claim], contested["key"]["tuple"][at])
    together = equals & _together(claims["value"][claim], contested["value"][at], entries, matches.entry[outside[at]])
    keep = ~np.isin(matches.row, matches.row[np.r_[begins, outside[at[together]]]])
    return Matches(matches.row[keep], matches.entry[keep], matches.reverse[keep])


def _together(claims: Rows, contested: Rows, entries: Live, entry: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Tell where two rows (their values) are both after the life of an entry, or both from before it.

    What is answered began before its answers end.
    """
    until = np.maximum(entries["seen_ns"], entries["last_ns"])[entry]
    began, answered = (value["first_ns"].astype(np.int64) for value in (claims, contested))
    side = np.where(answered > until, began > until, began < entries["born_ns"][entry])
    result: npt.NDArray[np.bool_] = side & (began <= contested["last_ns"].astype(np.int64) + SLACK_NS)
    return result
