"""The record's body: one line for people."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from natlens.flows.connection import Nat
from natlens.identity.endpoint import Endpoint
from natlens.identity.ends import End
from natlens.otlp import columns
from natlens.otlp.batch import Batch
from natlens.otlp.column import Choice, Numbers, combine, listed

__all__ = ["lines", "parts"]

DIALLED_PORT, ANSWERED_PORT = columns.port("dport"), columns.port("dport", Nat.DNAT)
NO_PORT = 1 << 16


def lines(batch: Batch) -> list[str]:
    """Return ``client → what it dialled ⇒ what answered transport`` for each connection.

    Names where they are known, else addresses (IPv6 in brackets); ``⇒`` only where the destination
    is translated. Characters that would break the line are replaced.
    """
    return ["".join(map(str, line)) for line in zip(*map(listed, parts(batch)), strict=True)]


def parts(batch: Batch) -> tuple[Choice, Choice, Choice]:
    """Return the lines in three parts, to be put together: the source, what it dialled, what answered and how."""
    return _source(batch), _dialled(batch), _answered(batch)


def _source(batch: Batch) -> Choice:
    return Choice(batch.source.codes, _printable(f"{_end(end)} → " for end in batch.source.each))


def _dialled(batch: Batch) -> Choice:
    ends = batch.destination
    codes, different = combine([(ends.codes, len(ends.each)), (_ports(DIALLED_PORT(batch)), NO_PORT + 1)])
    return Choice(codes, _printable(_end(ends.each[end], port) for end, port in different))


def _answered(batch: Batch) -> Choice:
    ends = batch.destination_nat
    ports = (_ports(ANSWERED_PORT(batch)), NO_PORT + 1)
    protocols = (batch.connections["original"]["proto"], 256)
    codes, different = combine([(ends.codes, len(ends.each)), ports, protocols])
    lines = []
    for end, port, protocol in different:
        by = _end(ends.each[end], port)
        transport = columns.TRANSPORTS.get(protocol, f"protocol {protocol}")
        lines.append(f" ⇒ {by} {transport}" if by else f" {transport}")
    return Choice(codes, _printable(lines))


def _ports(column: Numbers) -> npt.NDArray[np.int64]:
    """Return port numbers, :data:`NO_PORT` where there is none."""
    return np.where(True if column.present is None else column.present, column.values.astype(np.int64), NO_PORT)


def _end(end: End | None, port: int = NO_PORT) -> str:
    if end is None:
        return ""
    name = _name(end.endpoint) or (f"[{end.address}]" if ":" in end.address else end.address)
    return name if port == NO_PORT else f"{name}:{port}"


def _name(endpoint: Endpoint) -> str | None:
    name = endpoint.k8s_pod_name or endpoint.k8s_service_name
    if name:
        return f"{endpoint.k8s_namespace_name}/{name}" if endpoint.k8s_namespace_name else name
    return endpoint.k8s_node_name if endpoint.k8s_object_kind == "node" else None


def _printable(texts: Iterable[str]) -> list[str]:
    return [
        text if text.isprintable() else "".join(one if one.isprintable() else "\ufffd" for one in text)
        for text in texts
    ]
