"""What names cost: the ends of 100,000 connections of a node in a cluster of 20,000 pods."""

import json
from collections.abc import Iterable
from functools import partial
from ipaddress import ip_address

import numpy as np

from natlens.flows.tuples import pack_address
from natlens.health import Health
from natlens.identity.api.decode import Decoder
from natlens.identity.api.keep import Keep
from natlens.identity.index import Index
from natlens.identity.naming import name_ends
from natlens.identity.objects import EndpointSlice, KubernetesObject, Node, Pod, Service
from natlens.identity.settings import IdentitySettings
from tests.bench.figure import median_s, say, tell
from tests.bench.shapes import HERE, NODES, NOW, PODS, SERVICES, Cluster
from tests.bench.windows import half_and_half
from tests.cluster import objects
from tests.cluster.api import Json
from tests.cluster.crowd import Crowd

__all__ = ["resolved"]

CROWD = Crowd("node-a", nodes=180)
"""The first has as many pods as the window's node."""
HOUR = 3600 * 10**9
RANGES = ip_address("10.96.0.0"), ip_address("fd00:96::")


class Live(Index):
    """An index as the cluster's identity asks it: nothing waits here."""

    wait_ns = 0


class Crowded(Cluster):
    """The window's cluster with the crowd's addresses: pods of the home node first."""

    def __init__(self) -> None:
        super().__init__()
        here = range(0, CROWD.pods, CROWD.nodes)
        others = [n for n in range(CROWD.pods) if n % CROWD.nodes]
        pods = [*here[:HERE], *others[:: len(others) // PODS]][:PODS]
        told = {
            "pod": [CROWD.addresses(n)[0] for n in pods],
            "service": [service_address(n) for n in range(SERVICES)],
            "node": [node_address(n) for n in range(NODES)],
        }
        self.addresses = {
            kind: np.frombuffer(b"".join(map(pack_address, of)), np.uint8).reshape(-1, 16) for kind, of in told.items()
        }


def service_address(number: int, family: int = 0) -> str:
    """Return the cluster IP of a Service."""
    return str(RANGES[family] + number + 10)


def node_address(number: int) -> str:
    """Return the address of a node."""
    return f"192.0.3.{number + 1}"


def _service(number: int) -> Json:
    made = CROWD.service(number)
    made["spec"]["clusterIPs"] = [service_address(number, family) for family in (0, 1)]
    return made


def _node(number: int) -> Json:
    name = CROWD.node_name(number)
    made = objects.node(name, zone=f"zone-{number % 3}")
    return {**made, "status": objects.node_status(name, [node_address(number)])}


def filled(pods: Iterable[int]) -> Live:
    """Return a live index of the crowd, with these pods."""
    index = Live(Health(), IdentitySettings(node_name=CROWD.home))
    told: dict[type[KubernetesObject], Iterable[Json]] = {
        Node: map(_node, range(CROWD.nodes)),
        Service: map(_service, range(CROWD.services)),
        EndpointSlice: (one for n in range(CROWD.services) for one in CROWD.slices(n)),
        Pod: map(CROWD.pod, pods),
    }
    for kind, several in told.items():
        listing = {"kind": f"{kind.__name__}List", "metadata": {"resourceVersion": "1"}, "items": list(several)}
        decoder = Decoder(kind, Keep(), Health())
        found = decoder.read_list("application/json", iter([json.dumps(listing).encode()]))
        if found.unreadable:
            raise RuntimeError(f"{found.unreadable} of {kind.__name__} cannot be read")
        index.replace(kind, found.objects, NOW - HOUR)
    return index


def resolved() -> None:
    """Endpoint resolutions a second of one core, as in every window but the first."""
    tell("names")
    window = half_and_half(Crowded())
    index = filled(range(0, CROWD.pods, CROWD.nodes))
    ends = name_ends(window, index)
    count = sum(int((role.codes >= 0).sum()) for role in ends)
    unnamed = sum(
        end.endpoint.k8s_object_kind not in {"pod", "service", "node"} for role in ends for end in role.each if end
    )
    if unnamed:
        raise RuntimeError(f"{unnamed} ends have no names")
    say("identity_lookups_per_s", count / median_s(partial(name_ends, window, index)), "1/s")
