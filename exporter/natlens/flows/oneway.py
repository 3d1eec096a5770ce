"""Datagrams that nobody answered and no program could explain: who has to be asked by name?

A connection's first packet has no conntrack entry yet when it comes in, and one that goes to a process of the node
never leaves by a covered egress. If nothing follows (a syslog line), only ctnetlink can tell what it was translated to.
"""

import numpy as np
import numpy.typing as npt

from natlens.flows.columns import gather
from natlens.flows.hashing import among
from natlens.flows.join import Carry
from natlens.flows.sampling import is_sampled
from natlens.flows.tuples import ICMP, ICMP6, SCTP, TCP, UDP, inverse
from natlens.kernel.structs import ConntrackWord, Side
from natlens.kernel.windows import Window

__all__ = ["unexplained"]

ECHO = {ICMP: (0, 8), ICMP6: (128, 129)}  # types: answer and request


def unexplained(window: Window, carry: Carry, *, every: bool = False, sampling: int = 1) -> npt.NDArray[np.void]:
    """Return the tuples (dtype TUPLE) of rows that conntrack might still explain.

    With ``every`` (packets do not tell, or no program looks anything up): TCP, UDP, SCTP and ICMP echo, whose
    connections are not known. They were silent for so long that they were forgotten, or a hook saw one packet. What the
    host sent is asked for as what would answer it.

    Without: TCP and UDP. These came in, were one packet, and were not answered under the inverse of their tuple; those
    that ``sampling`` leaves out are not asked for (their answers were not counted either).

    Either way they are neither ORIGINAL nor REPLY of a translation in this window or of a connection whose zone is
    known from an earlier one. Multicast is left out: it is never translated.
    """
    value, side = window.rows["value"], window.rows["key"]["side"]
    tuples = window.rows["key"]["tuple"]
    multicast = (tuples["dst"][:, 0] == 0xFF) | ((tuples["family"] == 4) & (tuples["dst"][:, 12] >= 224))
    asks = (value["conntrack"] == ConntrackWord.UNASKED) & ~multicast
    asks &= np.isin(tuples["proto"], (TCP, UDP, SCTP) if every else (TCP, UDP)) | (every & _is_echo(tuples))
    if every:
        asked = np.unique(
            np.concatenate(
                [gather(tuples, asks & (side == Side.INGRESS)), inverse(gather(tuples, asks & (side == Side.EGRESS)))]
            )
        )
    else:
        asked = gather(tuples, asks & (value["packets"] == 1) & (side == Side.INGRESS))
        if sampling > 1:
            asked = gather(asked, is_sampled(asked, sampling))
        asked = asked[~among(inverse(asked), tuples)]
    if not len(asked):
        return asked
    known = np.flatnonzero(carry.live["zone"] >= 0)
    original, translated = (gather(carry.live[name], known) for name in ("original", "translated"))
    key = window.translations["key"]
    for explained in (key["original"], key["reply"], original, inverse(translated)):
        asked = asked[~among(asked, explained)]
    return asked


def _is_echo(tuples: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    proto, kind = tuples["proto"], tuples["dport"] >> 8
    result: npt.NDArray[np.bool_] = ((proto == ICMP) & np.isin(kind, ECHO[ICMP])) | (
        (proto == ICMP6) & np.isin(kind, ECHO[ICMP6])
    )
    return result
