"""The two shapes that encoding and delivery are measured with: 100,000 connections of one node, 2,000 endpoints.

*plain*: pod to pod, half of them from here and half to here, both ends named, no NAT. *full*: a pod of this node
dialled a Service, one of its pods answered, the source was masqueraded, and every end has all the names that one of its
kind can have. Who calls whom is drawn at random once, as a graph: each pod of the node has 16 peers and calls 12
Services. Client ports, counters, times and ids are random for every connection, but no
two have one tuple. Every node runs an agent: the record of the initiator's counts.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from natlens.flows.connection import CONNECTION, EndReason, Nat, State
from natlens.flows.tuples import TCP, pack_address
from natlens.identity.endpoint import UNKNOWN, Endpoint
from natlens.identity.naming import name_ends
from natlens.identity.standing import Reporter, Standing
from natlens.kernel.structs import TUPLE, TranslationSource
from natlens.otlp.batch import Batch
from natlens.otlp.resource import Observer, resource

__all__ = ["CONNECTIONS", "RESOURCE", "Cluster", "batch", "connections"]

CONNECTIONS = 100_000
PODS, SERVICES, NODES, HERE = 1790, 200, 100, 110
PEERS, CALLED = 16, 12
PORTS, STEP = 28_229, 7919  # primes
SECOND = 10**9
NOW = 1_790_000_000 * SECOND
UPLINK, VETH = 2, 3
Picks = npt.NDArray[np.int64]
RESOURCE = resource(Observer(host_name="node-1", host_id="0" * 32, node_name="node-1", cluster_name="prod"))


def _uid(number: int) -> str:
    return f"{number * 0x9E3779B97F4A7C15 % 2**32:08x}-5aa8-4c2a-9c47-{number:012x}"


class Cluster:
    """An :class:`~natlens.identity.endpoint.Identity` of 2,000 endpoints."""

    wait_ns = 0

    def __init__(self) -> None:
        pods = {f"10.244.{n >> 8}.{n & 255}": _pod(n) for n in range(PODS)}
        services = {f"10.96.0.{n}": _service(n) for n in range(SERVICES)}
        nodes = {f"192.0.2.{n}": _node(n) for n in range(NODES)}
        self.addresses: Mapping[str, npt.NDArray[np.uint8]] = {
            kind: np.frombuffer(b"".join(map(pack_address, of)), np.uint8).reshape(-1, 16)
            for kind, of in (("pod", pods), ("service", services), ("node", nodes))
        }
        self._known = {**pods, **services, **nodes}

    def endpoint(self, address: str, port: int, transport: int, at_ns: int) -> Endpoint:  # noqa: ARG002  # Identity
        """Return the pod, Service or node that has ``address``."""
        return self._known.get(address, UNKNOWN)

    def ports(self, address: str) -> Collection[tuple[int, int]]:
        """Return NodePorts for a node's address."""
        return [(port, TCP) for port in range(30000, 30100)] if address.startswith("192.0.2.") else ()

    def borders(self, address: str, begin_ns: int, end_ns: int) -> Sequence[int]:  # noqa: ARG002  # Identity
        """Return none: every address is one thing for ever."""
        return ()


def _pod(number: int) -> Endpoint:
    owner = f"checkout-{number % 97}"
    return Endpoint(
        k8s_namespace_name=f"team-{number % 23}",
        k8s_pod_name=f"{owner}-7d4b9c6f5-{number:05x}",
        k8s_pod_uid=_uid(number),
        k8s_node_name=f"node-{number % NODES}",
        k8s_owner_name=owner,
        k8s_owner_type="Deployment",
        k8s_object_kind="pod",
        cloud_availability_zone=f"eu-central-1{'abc'[number % 3]}",
    )


def _service(number: int) -> Endpoint:
    return Endpoint(
        k8s_namespace_name=f"team-{number % 23}",
        k8s_service_name=f"checkout-{number % 97}",
        k8s_service_uid=_uid(number),
        k8s_object_kind="service",
    )


def _node(number: int) -> Endpoint:
    return Endpoint(
        k8s_node_name=f"node-{number}",
        k8s_object_kind="node",
        cloud_availability_zone=f"eu-central-1{'abc'[number % 3]}",
    )


def _tuples(
    cluster: Cluster, n: int, source: tuple[str, Picks], destination: tuple[str, Picks], client_ports: Picks
) -> npt.NDArray[np.void]:
    """Return tuples; an end is a kind of endpoint and which of them, the port that it serves follows from that."""
    made = np.zeros(n, TUPLE)
    made["src"] = cluster.addresses[source[0]][source[1]]
    made["dst"] = cluster.addresses[destination[0]][destination[1]]
    made["sport"], made["dport"] = client_ports, np.array([80, 443, 5432, 8080, 9092])[destination[1] % 5]
    made["proto"], made["family"] = TCP, 4
    return made


def _ports(rng: np.random.Generator, owner: Picks) -> Picks:
    """Return client ports, no port twice for one owner: each steps through the range from a place of its own."""
    order = np.argsort(owner, kind="stable")
    first = np.searchsorted(owner[order], owner[order])
    rank = np.empty(len(owner), np.int64)
    rank[order] = np.arange(len(owner)) - first
    return 32768 + (rng.integers(0, PORTS, int(owner.max()) + 1)[owner] + rank * STEP) % PORTS


def connections(cluster: Cluster, n: int, *, full: bool, seed: int = 1) -> npt.NDArray[np.void]:
    """Return ``n`` connections of one shape (dtype CONNECTION)."""
    rng = np.random.default_rng(seed)
    made = np.zeros(n, CONNECTION)
    here = rng.integers(0, HERE, n)
    made["ifindex"] = here + VETH
    if full:
        service = rng.integers(0, SERVICES, (HERE, CALLED))[here, rng.integers(0, CALLED, n)]
        backend = service + SERVICES * rng.integers(0, PODS // SERVICES, n)
        made["original"] = _tuples(cluster, n, ("pod", here), ("service", service), _ports(rng, here))
        node = np.zeros(n, np.int64)
        made["translated"] = _tuples(cluster, n, ("node", node), ("pod", backend), _ports(rng, backend))
        made["nat"], made["nat_source"] = Nat.DNAT_SNAT, TranslationSource.TC
    else:
        peer = rng.integers(HERE, PODS, (HERE, PEERS))[here, rng.integers(0, PEERS, n)]
        comes = rng.random(n) < 0.5
        source, destination = np.where(comes, peer, here), np.where(comes, here, peer)
        ports = _ports(rng, source)
        made["original"] = _tuples(cluster, n, ("pod", source), ("pod", destination), ports)
        made["translated"] = made["original"]
        made["ifindex"][comes] = UPLINK
    _count(made, rng)
    return made


def _count(made: npt.NDArray[np.void], rng: np.random.Generator) -> None:
    n = len(made)
    made["start_ns"] = NOW + rng.integers(0, 10 * SECOND, n)
    made["end_ns"] = made["start_ns"] + rng.integers(0, 10 * SECOND, n)
    made["flow_id"] = rng.integers(0, 2**64, (n, 2), np.uint64)
    ended = rng.random(n) < 0.5
    made["forward_flags"] = made["reverse_flags"] = np.where(ended, 0b0001_1011, 0b0001_1010)
    made["end_reason"] = np.where(ended, EndReason.END_OF_FLOW_DETECTED, EndReason.ACTIVE_TIMEOUT)
    made["state"] = np.where(ended, State.CLOSED, State.OPEN)
    for way in ("forward", "reverse"):
        packets = rng.integers(1, 500, n)
        made[f"{way}_packets"], made[f"{way}_octets"] = packets, packets * rng.integers(52, 1500, n)
        before = rng.integers(0, 3, n) * rng.integers(1, 5000, n)
        made[f"{way}_packets_total"] = packets + before
        made[f"{way}_octets_total"] = made[f"{way}_octets"] + (before * rng.integers(52, 1500, n)).astype(np.uint64)
    made["sequence"] = rng.integers(0, 3, n)


def batch(cluster: Cluster, rows: npt.NDArray[np.void]) -> Batch:
    """Return the connections with their names, as the pipeline makes it."""
    source, destination, source_nat, destination_nat = name_ends(rows, cluster)
    initiates, answers = _here(rows["original"]["src"]), _here(rows["translated"]["dst"])
    return Batch(
        connections=rows,
        source=source,
        destination=destination,
        source_nat=source_nat,
        destination_nat=destination_nat,
        interface_names={UPLINK: "eth0", **{VETH + n: f"veth{_uid(n)[:8]}" for n in range(HERE)}},
        interval_end_ns=NOW + 20 * SECOND,
        observed_ns=NOW + 20 * SECOND + 12_345_678,
        standing=Standing(initiates * np.uint8(Reporter.SOURCE) + answers * np.uint8(Reporter.DESTINATION), initiates),
    )


def _here(addresses: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Tell which of the pods' addresses (shape (n, 16)) are this node's."""
    here: npt.NDArray[np.bool_] = addresses[:, -2:].astype(np.int64) @ (256, 1) < HERE
    return here
