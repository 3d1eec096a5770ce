"""The table of the log record's attributes: encoder, documentation and registry follow from it.

To add an attribute from data that is already there, add one row. An attribute that does not apply
to a connection is absent (its reader gives None), never 0 or "".
"""

from natlens.flows.connection import EndReason, Nat, State
from natlens.otlp import columns
from natlens.otlp.attribute import Attribute, Template, Type
from natlens.otlp.endpoints import ENDPOINT_FIELDS, endpoint_attributes, endpoint_templates

__all__ = ["ATTRIBUTES", "ENDPOINT_FIELDS", "TEMPLATES", "Attribute", "Template", "Type", "endpoint_attributes"]

FLOW = (
    Attribute(
        "source.address",
        "string",
        "Address of the initiator, before any translation.",
        "10.244.1.7",
        columns.address("source"),
    ),
    Attribute(
        "source.port",
        "int",
        "Port of the initiator, before any translation; TCP, UDP, SCTP.",
        40312,
        columns.port("sport"),
    ),
    Attribute(
        "destination.address",
        "string",
        "Address that the initiator dialled, before any translation (the Service).",
        "10.96.0.10",
        columns.address("destination"),
    ),
    Attribute(
        "destination.port",
        "int",
        "Port that the initiator dialled, before any translation; TCP, UDP, SCTP.",
        80,
        columns.port("dport"),
    ),
    Attribute(
        "source.nat.address",
        "string",
        "What the source's address became; only where the source is translated.",
        "192.0.2.11",
        columns.address("source.nat"),
    ),
    Attribute(
        "source.nat.port",
        "int",
        "What the source's port became; only where the source is translated.",
        61544,
        columns.port("sport", Nat.SNAT),
    ),
    Attribute(
        "destination.nat.address",
        "string",
        "What the destination's address became (the pod); only where the destination is translated.",
        "10.244.2.9",
        columns.address("destination.nat"),
    ),
    Attribute(
        "destination.nat.port",
        "int",
        "What the destination's port became; only where the destination is translated.",
        8080,
        columns.port("dport", Nat.DNAT),
    ),
    Attribute("nat.kind", "string", "Which sides are translated: dnat, snat or dnat+snat.", "dnat", columns.nat_kind),
    Attribute(
        "nat.source",
        "string",
        "How the translation was learned: tc, fentry, kprobe, ctnetlink, lookup or dump.",
        "tc",
        columns.nat_source,
    ),
    Attribute(
        "conntrack.zone.id",
        "int",
        "conntrack zone of the connection, 0 is the default zone; absent where conntrack does not know it.",
        0,
        columns.zone,
    ),
    Attribute(
        "network.transport",
        "string",
        "Transport: tcp, udp, sctp, icmp or icmpv6; absent for other protocols.",
        "tcp",
        columns.labels("proto", columns.TRANSPORTS),
    ),
    Attribute(
        "network.type", "string", "IP version: ipv4 or ipv6.", "ipv4", columns.labels("family", {4: "ipv4", 6: "ipv6"})
    ),
    Attribute("network.iana_number", "int", "IP protocol number.", 6, columns.protocol),
    Attribute(
        "network.interface.name",
        "string",
        "Interface where the connection was first counted.",
        "veth1a2b3c4d",
        columns.interface,
    ),
    Attribute(
        "flow.bytes.delta",
        "int",
        "Octets from initiator to responder in this interval: IP header and payload of every segment (IPFIX IE 1).",
        1420,
        columns.number("forward_octets"),
    ),
    Attribute(
        "flow.packets.delta",
        "int",
        "Segments from initiator to responder in this interval.",
        7,
        columns.number("forward_packets"),
    ),
    Attribute(
        "flow.reverse.bytes.delta",
        "int",
        "Octets from responder to initiator in this interval.",
        96120,
        columns.number("reverse_octets"),
    ),
    Attribute(
        "flow.reverse.packets.delta",
        "int",
        "Segments from responder to initiator in this interval.",
        71,
        columns.number("reverse_packets"),
    ),
    Attribute(
        "flow.bytes.total",
        "int",
        "Octets from initiator to responder since the connection was first seen.",
        5680,
        columns.number("forward_octets_total"),
    ),
    Attribute(
        "flow.packets.total",
        "int",
        "Segments from initiator to responder since the connection was first seen.",
        28,
        columns.number("forward_packets_total"),
    ),
    Attribute(
        "flow.reverse.bytes.total",
        "int",
        "Octets from responder to initiator since the connection was first seen.",
        384480,
        columns.number("reverse_octets_total"),
    ),
    Attribute(
        "flow.reverse.packets.total",
        "int",
        "Segments from responder to initiator since the connection was first seen.",
        284,
        columns.number("reverse_packets_total"),
    ),
    Attribute(
        "flow.start_time",
        "int",
        "First packet, Unix time in ns; the same on every record of the connection.",
        1764000000000000000,
        columns.number("start_ns"),
    ),
    Attribute(
        "flow.end_time",
        "int",
        "Last packet so far, Unix time in ns.",
        1764000009250000000,
        columns.number("end_ns"),
    ),
    Attribute(
        "flow.duration",
        "double",
        "From start to end in seconds; only on the connection's last record.",
        9.25,
        columns.duration,
    ),
    Attribute(
        "flow.id",
        "string",
        "128 bits in hexadecimal, the same on every record of the connection.",
        "8f1c6a0e5b7d42938f1c6a0e5b7d4293",
        columns.flow_id,
    ),
    Attribute(
        "flow.sequence",
        "int",
        "0, 1, 2… of this connection's records: tells a duplicate from a gap.",
        0,
        columns.number("sequence"),
    ),
    Attribute(
        "flow.end_reason",
        "string",
        "IPFIX flowEndReason: active_timeout (the connection goes on), idle_timeout, end_of_flow_detected, forced_end "
        "or lack_of_resources.",
        "end_of_flow_detected",
        columns.enum("end_reason", EndReason),
    ),
    Attribute(
        "flow.connection.state",
        "string",
        "How the connection stands: new, open, closed, reset or unanswered.",
        "closed",
        columns.enum("state", State),
    ),
    Attribute(
        "flow.tcp.flags.tags",
        "string[]",
        "Union of the TCP flags that the initiator sent.",
        ("FIN", "SYN", "PSH", "ACK"),
        columns.flags("forward_flags"),
    ),
    Attribute(
        "flow.reverse.tcp.flags.tags",
        "string[]",
        "Union of the TCP flags that the responder sent.",
        ("SYN", "RST", "ACK"),
        columns.flags("reverse_flags"),
    ),
    Attribute("flow.icmp.type.id", "int", "ICMP or ICMPv6 type of the first message.", 8, columns.icmp("type")),
    Attribute("flow.icmp.code.id", "int", "ICMP or ICMPv6 code of the first message.", 0, columns.icmp("code")),
    Attribute(
        "flow.icmp.id",
        "int",
        "ICMP identifier, before any translation; only of messages that have one (echo, timestamp, information and "
        "mask).",
        4711,
        columns.icmp("id"),
    ),
    Attribute(
        "flow.icmp.nat.id",
        "int",
        "What NAT made of the ICMP identifier; only where it was changed.",
        23,
        columns.nat_icmp_id,
    ),
    Attribute(
        "flow.sampling_rate",
        "int",
        "Of how many connections this is one that was counted; only where connections are sampled.",
        100,
        columns.sampling_rate,
    ),
    Attribute(
        "flow.reporter",
        "string",
        "Where this node stands: source (the initiator is here), destination (what really answered is here), both or "
        "transit.",
        "source",
        columns.reporter,
    ),
    Attribute(
        "flow.primary",
        "bool",
        "True on exactly one node's record of a connection: a sum over nodes of these counts everything once.",
        True,
        columns.primary,
    ),
)

ATTRIBUTES: list[Attribute] = [*FLOW, *endpoint_attributes()]
"""Every attribute of the record, in the order in which it is documented."""

TEMPLATES: list[Template] = endpoint_templates()
"""Every attribute whose name ends in what the user chose."""
