"""Calls of pods to pods, through a Service or not: batches for tests of metrics."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from natlens.flows.connection import CONNECTION, EndReason, Nat
from natlens.identity.endpoint import Endpoint
from natlens.identity.ends import End, Ends
from natlens.identity.standing import Standing
from natlens.otlp.batch import Batch
from natlens.otlp.metrics.settings import MetricSettings

__all__ = ["AMOUNTS", "CALLS", "SECOND", "Call", "calls", "settings"]

SECOND = 10**9
AMOUNTS = ("forward_octets", "forward_packets", "reverse_octets", "reverse_packets")
SERVICE = End("10.96.0.1", Endpoint(k8s_namespace_name="shop", k8s_service_name="web", k8s_object_kind="service"))


class Call(NamedTuple):
    """One connection of pod ``client`` to pod ``backend``."""

    client: int = 0
    backend: int = 0
    amounts: tuple[int, int, int, int] = (10, 1, 100, 2)
    by_service: bool = False
    first: bool = True
    """Whether it is new."""
    lasted: float | None = None
    """In s, if it is over."""
    start_ns: int = 0


def _pod(number: int) -> End:
    endpoint = Endpoint(k8s_namespace_name="shop", k8s_pod_name=f"pod-{number}", k8s_object_kind="pod")
    return End(f"10.244.{number >> 8}.{number & 255}", endpoint)


def calls(made: Sequence[Call], standing: Standing | None = None) -> Batch:
    """Return the calls as a batch."""
    rows = np.zeros(len(made), CONNECTION)
    for name, column in zip(AMOUNTS, np.array([call.amounts for call in made]).reshape(-1, 4).T, strict=True):
        rows[name] = column
    rows["nat"] = [Nat.DNAT if call.by_service else Nat.NONE for call in made]
    rows["sequence"] = [0 if call.first else 1 for call in made]
    rows["start_ns"] = [call.start_ns for call in made]
    rows["end_ns"] = [call.start_ns + round((call.lasted or 0) * SECOND) for call in made]
    over = [EndReason.ACTIVE_TIMEOUT if call.lasted is None else EndReason.IDLE_TIMEOUT for call in made]
    rows["end_reason"] = over
    rows["original"]["proto"], rows["original"]["family"] = 6, 4
    rows["translated"] = rows["original"]
    numbers = [(call.client, call.backend) for call in made]
    pods = [_pod(number) for number in range(1 + max(map(max, numbers), default=0))]
    clients, backends = np.array(numbers, np.intp).reshape(-1, 2).T
    by_service = np.array([call.by_service for call in made], np.bool_)
    each = [*pods, SERVICE]
    return Batch(
        connections=rows,
        source=Ends.of(clients, each),
        destination=Ends.of(np.where(by_service, len(pods), backends), each),
        source_nat=Ends.of(np.full(len(made), -1), each),
        destination_nat=Ends.of(np.where(by_service, backends, -1), each),
        interface_names={},
        interval_end_ns=0,
        observed_ns=0,
        standing=standing,
    )


SMALL = st.integers(0, 1000)
CALLS = st.lists(
    st.builds(
        Call,
        client=st.integers(0, 3),
        backend=st.integers(0, 3),
        amounts=st.tuples(SMALL, SMALL, SMALL, SMALL),
        by_service=st.booleans(),
        first=st.booleans(),
        lasted=st.none() | st.sampled_from([0.0, 0.005, 0.25, 3.5, 7200.0]),
        start_ns=st.integers(0, 5),
    ),
    max_size=12,
)
"""Calls of sixteen pairs of pods."""


def settings(**others: object) -> MetricSettings:
    """Return settings that tell apart which pod called which."""
    attributes = ("source.k8s.pod.name", "flow.responder.k8s.pod.name")
    return MetricSettings(**{"attributes": attributes, **others})  # type: ignore[arg-type]
