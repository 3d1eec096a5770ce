"""Datagrams that nobody answered and no program could explain: who has to be asked by name?

A connection's first packet has no conntrack entry yet when it comes in, and one that goes to a process of the node
never leaves by a covered egress. If nothing follows (a syslog line), only ctnetlink can tell what it was translated to.
"""

import numpy as np
import numpy.typing as npt

from natlens.flows.hashing import hash_tuples
from natlens.flows.join import Carry
from natlens.flows.tuples import TCP, UDP, inverse
from natlens.kernel.structs import ConntrackWord, Side
from natlens.kernel.windows import Window

__all__ = ["unexplained"]


def unexplained(window: Window, carry: Carry) -> npt.NDArray[np.void]:
    """Return the tuples (dtype TUPLE) of TCP and UDP rows that conntrack might still explain.

    These came in, were one packet, were not answered under the inverse of their tuple, and have no translation in this
    window nor a zone from an earlier one. Multicast is left out: it is never translated.
    """
    value, key = window.rows["value"], window.rows["key"]
    tuples = key["tuple"]
    multicast = (tuples["dst"][:, 0] == 0xFF) | ((tuples["family"] == 4) & (tuples["dst"][:, 12] >= 224))
    alone = (value["packets"] == 1) & (value["conntrack"] == ConntrackWord.UNASKED) & ~multicast
    alone &= (key["side"] == Side.INGRESS) & np.isin(tuples["proto"], (TCP, UDP))
    asked = tuples[alone]
    known = carry.live["original"][carry.live["zone"] >= 0]
    names = np.concatenate([hash_tuples(window.translations["key"]["original"]), hash_tuples(known)])
    open_ = ~np.isin(hash_tuples(asked), names) & ~np.isin(hash_tuples(inverse(asked)), hash_tuples(tuples))
    result: npt.NDArray[np.void] = asked[open_]
    return result
