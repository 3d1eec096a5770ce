"""Batches for tests: one written out by hand, and hypothesis strategies for arbitrary ones."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from natlens.flows.connection import CONNECTION, EndReason, Nat, State
from natlens.flows.tuples import TCP, address_text, pack_address
from natlens.identity.endpoint import UNKNOWN, Endpoint
from natlens.identity.ends import End, Ends
from natlens.identity.standing import Reporter, Standing
from natlens.kernel.structs import TUPLE, TranslationSource
from natlens.otlp.batch import ROLES, Batch, Trace
from natlens.otlp.endpoints import SELECTED

CLIENT = Endpoint(
    k8s_namespace_name="default",
    k8s_pod_name="client-7",
    k8s_pod_uid="uid-client",
    k8s_node_name="node-1",
    k8s_owner_name="client",
    k8s_owner_type="Deployment",
    k8s_owner_derived=True,
    k8s_object_kind="pod",
    cloud_availability_zone="a",
)
SERVICE = Endpoint(k8s_namespace_name="default", k8s_service_name="web", k8s_object_kind="service")
POD = Endpoint(k8s_namespace_name="default", k8s_pod_name="web-abc", k8s_object_kind="pod")


def tuples(
    src: str, dst: str, sport: int = 0, dport: int = 0, *, proto: int = TCP, family: int | None = None
) -> npt.NDArray[np.void]:
    """Return one directed tuple, shape (1,)."""
    row = np.zeros(1, TUPLE)
    row["src"], row["dst"] = (np.frombuffer(pack_address(text), np.uint8) for text in (src, dst))
    row["sport"], row["dport"], row["proto"] = sport, dport, proto
    row["family"] = family or (6 if ":" in src else 4)
    return row


def connection(**fields: object) -> npt.NDArray[np.void]:
    """Return one connection, shape (1,): a call to a Service that is over, with ``fields`` replaced."""
    row = np.zeros(1, CONNECTION)
    values: dict[str, object] = {
        "original": tuples("10.1.0.7", "10.96.0.10", 40000, 80),
        "translated": tuples("10.1.0.7", "10.2.0.9", 40000, 8080),
        "nat": Nat.DNAT,
        "nat_source": TranslationSource.TC,
        "ifindex": 3,
        "forward_octets": 500,
        "forward_packets": 5,
        "reverse_octets": 9000,
        "reverse_packets": 8,
        "forward_octets_total": 1500,
        "forward_packets_total": 15,
        "reverse_octets_total": 19000,
        "reverse_packets_total": 18,
        "start_ns": 1_764_000_000_000_000_000,
        "end_ns": 1_764_000_002_500_000_000,
        "forward_flags": 0b0001_1011,
        "reverse_flags": 0b0001_0110,
        "flow_id": (0x0123456789ABCDEF, 0xFEDCBA9876543210),
        "sequence": 2,
        "end_reason": EndReason.END_OF_FLOW_DETECTED,
        "state": State.CLOSED,
    }
    for name, value in {**values, **fields}.items():
        row[name] = value
    return row


def ends(connections: npt.NDArray[np.void], role: str, endpoints: Sequence[Endpoint | None]) -> Ends:
    """Return the ends in one role: one endpoint a connection, as if no two were the same; None is an unknown one."""
    tuples = connections["translated" if role.endswith("_nat") else "original"]
    side = "src" if role.startswith("source") else "dst"
    bit = {"source_nat": Nat.SNAT, "destination_nat": Nat.DNAT}.get(role, Nat.NONE)
    texts = [address_text(bytes(row[side]), int(row["family"])) for row in tuples]
    there = (connections["nat"] & bit) == bit
    each = [End(text, endpoint or UNKNOWN) for text, endpoint in zip(texts, endpoints, strict=True)]
    return Ends(np.where(there, np.arange(len(connections)), -1), [*each, None])


def in_order(batch: Batch) -> Batch:
    """Return the batch as the encoder orders it."""
    return next(batch.by_ends(), batch)


def batch_of(
    *rows: npt.NDArray[np.void],
    source: Endpoint | None = CLIENT,
    destination: Endpoint | None = SERVICE,
    source_nat: Endpoint | None = None,
    destination_nat: Endpoint | None = POD,
    standing: Standing | None = None,
) -> Batch:
    """Return a batch of the given connections (default: one), all with the same endpoints."""
    connections = np.concatenate(rows) if rows else connection()
    n = len(connections)
    return Batch(
        connections=connections,
        source=ends(connections, "source", [source] * n),
        destination=ends(connections, "destination", [destination] * n),
        source_nat=ends(connections, "source_nat", [source_nat] * n),
        destination_nat=ends(connections, "destination_nat", [destination_nat] * n),
        interface_names={3: "veth3"},
        interval_end_ns=1_764_000_010_000_000_000,
        observed_ns=1_764_000_010_100_000_000,
        standing=standing,
    )


def standing_of(reporters: Sequence[int], primary: Sequence[bool]) -> Standing:
    """Return the standing of as many connections."""
    return Standing(np.array(reporters, np.uint8), np.array(primary, np.bool_))


ANY_TEXT = st.text(st.characters(), max_size=20)
"""Any text a Python string can hold, lone surrogates included."""

KEYS = ANY_TEXT | st.sampled_from(["app", "tier", "\ud800", "\ud801"])
PAIRS = st.lists(
    st.tuples(st.builds("{}.{}".format, st.sampled_from([name for name, *_ in SELECTED]), KEYS), ANY_TEXT),
    max_size=4,
    unique_by=lambda pair: pair[0],
).map(tuple)
"""Labels and annotations that were asked for, in any order; two names may become one in UTF-8."""

FIELDS = {"k8s_owner_derived": st.none() | st.booleans(), "selected": PAIRS}
ENDPOINTS = st.builds(Endpoint, **{name: FIELDS.get(name, st.none() | ANY_TEXT) for name in Endpoint.__struct_fields__})


@st.composite
def standings(draw: st.DrawFn, n: int) -> Standing:
    """Any octets as reporters, real ones in most."""
    reporters = st.sampled_from([0, *Reporter]) | st.integers(0, 255)
    return Standing(draw(nps.arrays(np.uint8, n, elements=reporters)), draw(nps.arrays(np.bool_, n)))


@st.composite
def traces(draw: st.DrawFn, n: int) -> Trace:
    """Any ids but zeros, which are invalid, of any records."""
    octets = st.integers(1, 255)
    return Trace(
        draw(nps.arrays(np.uint8, (n, 16), elements=octets)),
        draw(nps.arrays(np.uint8, (n, 8), elements=octets)),
        draw(nps.arrays(np.bool_, n)),
    )


@st.composite
def batches(draw: st.DrawFn, max_size: int = 8) -> Batch:
    """Any bytes as connections, any text as names."""
    n = draw(st.integers(0, max_size))
    raw = draw(nps.arrays(np.uint8, n * CONNECTION.itemsize))
    connections = raw.view(CONNECTION).copy()
    if draw(st.booleans()):  # bytes at random are seldom a protocol or an enum's value
        for part in ("original", "translated"):
            connections[part]["proto"] = draw(nps.arrays(np.uint8, n, elements=st.sampled_from([1, 6, 17, 58, 132])))
            connections[part]["family"] = draw(st.sampled_from([4, 6]))
        connections["nat"] = draw(nps.arrays(np.uint8, n, elements=st.integers(0, 3)))
        connections["end_reason"] = draw(nps.arrays(np.uint8, n, elements=st.integers(1, 5)))
    names_of = st.lists(st.none() | ENDPOINTS, min_size=n, max_size=n)
    columns = {role: ends(connections, role, draw(names_of)) for role in ROLES.values()}
    names = {int(index): draw(ANY_TEXT) for index in connections["ifindex"] if draw(st.booleans())}
    times = st.integers(0, 2**63 - 1)
    standing = draw(st.none() | standings(n))
    return Batch(
        connections,
        **columns,
        interface_names=names,
        interval_end_ns=draw(times),
        observed_ns=draw(times),
        standing=standing,
        trace=draw(st.none() | traces(n)),
        sampling_rate=draw(st.sampled_from([1, 100])),
    )
