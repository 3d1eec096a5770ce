"""Structs, enums and counters shared with the kernel.

Generated from the BTF of bpf/natlens.bpf.c by bpf/generate_structs.py (`make structs`): do not edit.
"""

from enum import IntEnum

import numpy as np

TUPLE = np.dtype(
    [
        ("src", np.uint8, (16,)),  # source address, network order; IPv4 as ::ffff:a.b.c.d
        ("dst", np.uint8, (16,)),  # destination address
        ("sport", np.uint16),  # source port, host order; ICMP: identifier; 0 where the protocol has none
        ("dport", np.uint16),  # destination port, host order; ICMP: type << 8 | code
        ("proto", np.uint8),  # IP protocol number
        ("family", np.uint8),  # 4 or 6
        ("reserved", np.uint16),  # 0
    ]
)
"""`struct tuple`, 40 bytes."""

ROW_KEY = np.dtype(
    [
        ("tuple", TUPLE),  # as on the wire where it was counted
        ("ifindex", np.uint32),  # interface that counted it
        ("side", np.uint8),  # enum side: seen coming in (before NAT) or sent by the host (after NAT)
        ("reserved", np.uint8, (3,)),  # 0
    ]
)
"""`struct row_key`, 48 bytes."""

ROW = np.dtype(
    [
        ("octets", np.uint64),  # IPFIX IE 1: IP header and payload of every segment
        ("packets", np.uint64),  # segments
        ("first_ns", np.uint64),  # CLOCK_MONOTONIC, ns
        ("last_ns", np.uint64),  # CLOCK_MONOTONIC, ns; up to one tick early, never before first_ns
        ("syn_seq", np.uint32),  # sequence number of the SYN, where `syn` is set
        ("zone", np.uint16),  # conntrack zone, where `conntrack` is ORIGINAL or REPLY
        ("tcp_flags", np.uint8),  # union of the TCP flags
        ("syn", np.uint8),  # bits of enum syn: of the SYN that opened this generation
        ("conntrack", np.uint8),  # enum conntrack_word: the direction that conntrack gives these packets
        ("reserved", np.uint8, (3,)),  # 0
        ("tick", np.uint32),  # jiffies when last_ns was read: the clock is asked once a tick
    ]
)
"""`struct row`, 48 bytes."""

RETIRED_KEY = np.dtype(
    [
        ("row", ROW_KEY),  # the row that a new SYN ended
        ("first_ns", np.uint64),  # when that generation began
    ]
)
"""`struct retired_key`, 56 bytes."""

TRANSLATION_KEY = np.dtype(
    [
        ("original", TUPLE),  # conntrack's ORIGINAL tuple
        ("reply", TUPLE),  # conntrack's REPLY tuple: the inverse of ORIGINAL where there is no NAT
        ("zone", np.uint16),  # conntrack zone
        ("reserved", np.uint16),  # 0
    ]
)
"""`struct translation_key`, 84 bytes."""

TRANSLATION = np.dtype(
    [
        ("first_ns", np.uint64),  # CLOCK_MONOTONIC, ns
        ("last_ns", np.uint64),  # CLOCK_MONOTONIC, ns
        ("forward_octets", np.uint64),  # seen leaving in ORIGINAL direction: splits a tuple that two entries share
        ("forward_packets", np.uint64),  # segments of the same
        (
            "forward_ifindex",
            np.uint32,
        ),  # interface a packet in ORIGINAL direction came in by; 0: not seen, or the host sent it
        (
            "reply_ifindex",
            np.uint32,
        ),  # interface a packet in REPLY direction came in by; 0: not seen, or the host sent it
        ("source", np.uint8),  # enum translation_source
        ("reserved", np.uint8, (3,)),  # 0
        ("tick", np.uint32),  # jiffies when last_ns was read
    ]
)
"""`struct translation`, 48 bytes."""

FRAGMENT_KEY = np.dtype(
    [
        ("src", np.uint8, (16,)),  # source address
        ("dst", np.uint8, (16,)),  # destination address
        ("id", np.uint32),  # identification of the datagram
        ("proto", np.uint8),  # IP protocol number; IPv6: next header of the fragment header
        ("family", np.uint8),  # 4 or 6
        ("reserved", np.uint16),  # 0
    ]
)
"""`struct fragment_key`, 40 bytes."""

FRAGMENT = np.dtype(
    [
        ("sport", np.uint16),  # of the first fragment
        ("dport", np.uint16),  # of the first fragment
        ("proto", np.uint8),  # upper protocol: behind extension headers that only the first fragment has
        ("reserved", np.uint8),  # 0
    ]
)
"""`struct fragment`, 6 bytes."""

RULE_ENDS = np.dtype(
    [
        ("any", np.uint64),  # bit n: rule n holds where this is one of the four ends, before or after NAT
        ("source", np.uint64),  # … where it is the initiator's
        ("destination", np.uint64),  # … where it is what the initiator dialled
        ("responder", np.uint64),  # … where it is what answers, after NAT
    ]
)
"""`struct rule_ends`, 32 bytes."""

ADDRESS_PREFIX = np.dtype(
    [
        ("length", np.uint32),  # bits of the address that count; IPv4: 96 more than it has itself
        ("address", np.uint8, (16,)),  # as in struct tuple
    ]
)
"""`struct address_prefix`, 20 bytes."""

PORT_PREFIX = np.dtype(
    [
        ("length", np.uint32),  # bits of the port that count
        ("port", np.uint16),  # network order
        ("reserved", np.uint16),  # 0
    ]
)
"""`struct port_prefix`, 8 bytes."""

CONTROLS = np.dtype(
    [
        ("rejects", np.uint64),  # bit n: rule n rejects
        ("anywhere", np.uint64),  # rules that ask for no interface
        ("of_any_initiator", np.uint64),  # rules that ask neither for source nor destination
        ("of_any_responder", np.uint64),  # rules that do not ask for the responder
        ("rules", np.uint32),  # how many there are
        ("sampling", np.uint32),  # one of so many connections is counted; 0, 1: all
        ("places", np.uint32),  # places in the table of verdicts
        ("reserved", np.uint32),  # 0
    ]
)
"""`struct controls`, 48 bytes."""

VERDICT = np.dtype(
    [
        ("key", ROW_KEY),  # whose rows are left out; ifindex 0: nobody's
        ("tick", np.uint32),  # jiffies when it was found
        ("by", np.uint8),  # number of the rule that rejects, or enum cause
        ("reserved", np.uint8, (3,)),  # 0
    ]
)
"""`struct verdict`, 56 bytes."""

LEFT_OUT_COUNT = np.dtype(
    [
        ("packets", np.uint64),  # segments
        ("octets", np.uint64),  # as in struct row
    ]
)
"""`struct left_out_count`, 16 bytes."""


class Side(IntEnum):
    """`enum side`."""

    INGRESS = 0
    EGRESS = 1


class TranslationSource(IntEnum):
    """`enum translation_source`."""

    NONE = 0
    TC = 1
    LOOKUP = 2
    DUMP = 3
    CTNETLINK = 4
    FENTRY = 5
    KPROBE = 6


class ConntrackWord(IntEnum):
    """`enum conntrack_word`."""

    UNASKED = 0
    UNKNOWN = 1
    ORIGINAL = 2
    REPLY = 3


class Syn(IntEnum):
    """`enum syn`."""

    SEEN = 1
    FIRST = 2
    ACKED = 4


class Cause(IntEnum):
    """`enum cause`."""

    SAMPLING = 64


COUNTERS = {
    "dropped_rows_full_packets": "packets not counted: the window's row map was full",
    "dropped_rows_full_octets": "octets of those packets",
    "dropped_rows_memory_packets": "packets not counted: the kernel had no memory for a row",
    "dropped_rows_memory_octets": "octets of those packets",
    "dropped_retired_full": "generations of a reused port merged into the next: retired map full",
    "dropped_translations_full": "translations not stored: the window's translation map was full",
    "unparsed_truncated": "packets not counted: shorter than their headers or lengths say",
    "unparsed_header": "packets not counted: IP version or header length that no stack accepts",
    "unparsed_extensions": "packets not counted: more IPv6 extension headers than are followed",
    "unparsed_vlan": "packets not counted: more VLAN tags than are followed",
    "fragments_without_first": "fragments counted without ports: their first one was not seen",
    "forwarded_fragments": "IPv6 fragments at egress, not counted: taken as forwarded, counted when they came in",
    "windows_missing": "packets not counted: no window was there",
    "related": "packets whose conntrack entry is that of the connection they relate to (ICMP errors)",
    "foreign_netns": "packets whose conntrack entry belongs to another network namespace",
}
"""Name → meaning of every kernel counter, in the order of `struct counters` (64-bit, one block a CPU)."""
