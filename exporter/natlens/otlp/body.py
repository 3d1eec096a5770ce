"""The record's body: one line for people."""

from natlens.flows.connection import Nat
from natlens.identity.endpoint import Endpoint
from natlens.otlp import columns
from natlens.otlp.batch import Batch, Endpoints
from natlens.otlp.columns import Column

__all__ = ["lines"]

SOURCE = columns.address("src")
DIALLED, DIALLED_PORT = columns.address("dst"), columns.port("dport")
ANSWERED, ANSWERED_PORT = columns.address("dst", Nat.DNAT), columns.port("dport", Nat.DNAT)
TRANSPORT = columns.labels("proto", columns.TRANSPORTS)


def lines(batch: Batch) -> list[str]:
    """Return ``client → what it dialled ⇒ what answered transport`` for each connection.

    Names where they are known, else addresses (IPv6 in brackets); ``⇒`` only where the destination
    is translated. Characters that would break the line are replaced.
    """
    sources = _ends(batch.source, SOURCE(batch), [None] * len(batch))
    dialled = _ends(batch.destination, DIALLED(batch), DIALLED_PORT(batch))
    answered = _ends(batch.destination_nat, ANSWERED(batch), ANSWERED_PORT(batch))
    protocols = _protocols(batch)
    return [
        _printable(f"{source} → {to} ⇒ {by} {protocol}" if by else f"{source} → {to} {protocol}")
        for source, to, by, protocol in zip(sources, dialled, answered, protocols, strict=True)
    ]


def _protocols(batch: Batch) -> list[str]:
    numbers = columns.protocol(batch)
    return [name or f"protocol {number}" for name, number in zip(TRANSPORT(batch), numbers, strict=True)]


def _ends(endpoints: Endpoints, addresses: Column, ports: Column) -> list[str]:
    return [_end(*end) for end in zip(endpoints, addresses, ports, strict=True)]


def _end(endpoint: Endpoint | None, address: str | None, port: int | None) -> str:
    if address is None:
        return ""
    name = _name(endpoint) or (f"[{address}]" if ":" in address else address)
    return name if port is None else f"{name}:{port}"


def _name(endpoint: Endpoint | None) -> str | None:
    if endpoint is None:
        return None
    name = endpoint.k8s_pod_name or endpoint.k8s_service_name
    if name:
        return f"{endpoint.k8s_namespace_name}/{name}" if endpoint.k8s_namespace_name else name
    return endpoint.k8s_node_name if endpoint.k8s_object_kind == "node" else None


def _printable(line: str) -> str:
    return line if line.isprintable() else "".join(one if one.isprintable() else "\ufffd" for one in line)
