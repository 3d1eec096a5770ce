"""The connection: what the join produces and the record encoder consumes."""

from enum import IntEnum

import numpy as np

from natlens.kernel.structs import TUPLE

__all__ = ["CONNECTION", "EndReason", "Nat", "State"]


class Nat(IntEnum):
    """What NAT did to a connection (bits)."""

    NONE = 0
    DNAT = 1
    SNAT = 2
    DNAT_SNAT = 3


class State(IntEnum):
    """``flow.connection.state``."""

    NEW = 1  # first record of a connection that was answered and goes on
    OPEN = 2
    CLOSED = 3  # both ends said FIN (SCTP: SHUTDOWN COMPLETE is not read; such a flow idles out)
    RESET = 4  # an RST was seen
    UNANSWERED = 5  # nothing ever came back


class EndReason(IntEnum):
    """``flow.end_reason``: IPFIX flowEndReason (IE 136)."""

    IDLE_TIMEOUT = 1
    ACTIVE_TIMEOUT = 2  # the connection goes on: not its last record
    END_OF_FLOW_DETECTED = 3
    FORCED_END = 4  # the agent stops
    LACK_OF_RESOURCES = 5  # the table of live connections is full


CONNECTION = np.dtype(
    [
        ("original", TUPLE),  # initiator -> what it dialled, before any translation
        ("translated", TUPLE),  # the same after NAT; equal to `original` where there was none
        ("nat", np.uint8),  # Nat
        ("nat_source", np.uint8),  # kernel.structs.TranslationSource; 0 without translation
        ("zone", np.int32),  # conntrack zone; -1 where conntrack's word was not heard
        ("ifindex", np.uint32),  # where the connection was first counted
        ("forward_octets", np.uint64),  # initiator -> responder, this interval
        ("forward_packets", np.uint64),
        ("reverse_octets", np.uint64),
        ("reverse_packets", np.uint64),
        ("forward_octets_total", np.uint64),  # since the connection was first seen
        ("forward_packets_total", np.uint64),
        ("reverse_octets_total", np.uint64),
        ("reverse_packets_total", np.uint64),
        ("start_ns", np.int64),  # Unix time of the first packet; the same in every record
        ("end_ns", np.int64),  # Unix time of the last packet
        ("forward_flags", np.uint8),  # union of TCP flags, FIN=1 SYN=2 RST=4 PSH=8 ACK=16 URG=32 ECE=64 CWR=128
        ("reverse_flags", np.uint8),
        ("flow_id", np.uint64, (2,)),
        ("sequence", np.uint32),
        ("end_reason", np.uint8),  # EndReason
        ("state", np.uint8),  # State
    ]
)
"""One row is one record of one connection: deltas of an interval, totals, and how it stands."""
