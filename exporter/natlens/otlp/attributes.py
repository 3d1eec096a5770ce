"""The table of the log record's attributes: encoder, documentation and registry follow from it.

To add an attribute from data that is already there, add one row. An attribute that does not apply
to a connection is absent (its reader gives None), never 0 or "".
"""

from typing import Literal, NamedTuple

from natlens.flows.connection import EndReason, Nat, State
from natlens.otlp import columns
from natlens.otlp.batch import ROLES
from natlens.otlp.column import Value
from natlens.otlp.columns import Read

__all__ = ["ATTRIBUTES", "ENDPOINT_FIELDS", "Attribute", "Type", "endpoint_attributes"]

Type = Literal["string", "int", "double", "bool", "string[]"]


class Attribute(NamedTuple):
    """One row: what the attribute is called, what it means and how a batch's column of it is read."""

    name: str
    type: Type
    brief: str
    example: Value
    read: Read


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
)

ENDPOINT_FIELDS: tuple[tuple[str, Type, str, Value], ...] = (
    ("k8s.namespace.name", "string", "Namespace of {of}.", "shop"),
    ("k8s.pod.name", "string", "Pod of {of}.", "hello-pod-7d4b9c6f5-x2x7k"),
    ("k8s.pod.uid", "string", "UID of the pod of {of}.", "275ecb36-5aa8-4c2a-9c47-d8bb681b9aff"),
    ("k8s.node.name", "string", "Node that {of} is, or is on.", "node-1"),
    ("k8s.service.name", "string", "Service whose address is that of {of}.", "hello-pod"),
    ("k8s.service.uid", "string", "UID of the Service of {of}.", "5aa8275e-4c2a-9c47-cb36-81b9affd8bb6"),
    ("k8s.owner.name", "string", "Top owner of the pod of {of}.", "hello-pod"),
    ("k8s.owner.type", "string", "Kind of that owner: Deployment, StatefulSet, …", "Deployment"),
    ("k8s.owner.derived", "bool", "True where only the pod-naming rule says who owns the pod of {of}.", True),
    (
        "k8s.object.kind",
        "string",
        "What {of} is: pod, service, node, endpoint, apiserver, link_local, ovn_internal or external.",
        "pod",
    ),
    ("cloud.availability_zone", "string", "Zone of the node of {of}.", "eu-central-1a"),
)
"""Attributes that every endpoint can have: (name after the role, type, brief with ``{of}``, example).

The field of :class:`natlens.identity.endpoint.Endpoint` has the same name with underscores.
"""

WHO = {
    "source": "the initiator",
    "destination": "what the initiator dialled",
    "source.nat": "what the source became",
    "destination.nat": "what the destination became",
}


def endpoint_attributes() -> list[Attribute]:
    """Return one row for each role and endpoint field."""
    return [
        Attribute(
            f"{role}.{name}", kind, brief.format(of=WHO[role]), example, columns.endpoint(role, name.replace(".", "_"))
        )
        for role in ROLES
        for name, kind, brief, example in ENDPOINT_FIELDS
    ]


ATTRIBUTES: list[Attribute] = [*FLOW, *endpoint_attributes()]
"""Every attribute of the record, in the order in which it is documented."""
