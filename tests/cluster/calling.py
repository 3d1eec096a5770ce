"""Calls in the cluster, and the whole record that each must become: the names of all ends, and conntrack's own figures.

What an address became and how many octets passed is told by conntrack; whose the address was, the test says.
"""

import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest

from natlens.ui.lab.namespaces import Namespace
from natlens.ui.lab.traffic import exchange, talk, udp_socket
from tests.agent.process import wait_until
from tests.cluster.agents import Agents, Attributes, Call
from tests.cluster.api import Json
from tests.cluster.api_server import PORT as API_PORT
from tests.cluster.cluster import Cluster
from tests.cluster.ends import sends_to
from tests.cluster.named import Names
from tests.cluster.pods import ClusterPod
from tests.cluster.services import Port

__all__ = ["Stage", "staged"]

NODES_READ = "nodes: in step"
RULES_S = 20.0
GIVE_UP_S = 0.5  # before a second SYN
SYN, SYN_AGAIN_S = {"ipv4": 60, "ipv6": 80}, 1.0  # octets of a SYN or its answer, and when it is sent again
ENDS = "source.", "destination."
ENDED = "closed", "reset", "unanswered"
STATES = "new", "open", *ENDED
TOTALS = "flow.packets.total", "flow.bytes.total", "flow.reverse.packets.total", "flow.reverse.bytes.total"


class Place(Protocol):
    """From where one calls: a pod, a node, a machine outside."""

    @property
    def ip(self) -> str: ...
    @property
    def ip6(self) -> str: ...


class Entry(NamedTuple):
    """What conntrack has about a connection: its tuple, what that became, and packets and octets each way."""

    original: tuple[str, int, str, int]
    translated: tuple[str, int, str, int]
    totals: tuple[int, int, int, int]


class Stage:
    """The cluster with natlens on its nodes."""

    def __init__(self, cluster: Cluster, agents: Agents) -> None:
        self.cluster, self.agents = cluster, agents
        self._calls: list[Call] = []
        self._checked: list[tuple[str, Call]] = []

    def await_nodes(self) -> None:
        """Wait until every agent has read which nodes there are, and their networks: they take up to 5 s for that."""
        for at in self.cluster.nodes:
            self.agents.agent(at).wait_for(NODES_READ)

    def expose(self, name: str, pods: Sequence[ClusterPod], *ports: Port, **more: Any) -> Json:
        """Make a Service with these pods behind it, and wait until every node's kube-proxy sends its calls to them."""
        made = self.cluster.service(name, *ports, **more)
        self.cluster.slice(made, pods)
        self.await_backends(made, pods)
        return made

    def await_backends(self, made: Json, pods: Sequence[ClusterPod]) -> None:
        """Wait until every node's kube-proxy sends a Service's calls to these pods, and to nobody else."""
        addresses = [one.ip if family == "IPv4" else one.ip6 for one in pods for family in made["spec"]["ipFamilies"]]
        self.await_places(
            made, {(address, one["targetPort"]) for address in addresses for one in made["spec"]["ports"]}
        )

    def await_places(self, made: Json, places: Set[tuple[str, int]]) -> None:
        """Wait until every node's kube-proxy sends a Service's calls to these places, and to no other."""
        for proxy in self.cluster.proxies.values():
            wait_until(partial(sends_to, proxy, made, places), f"a right end of {made['metadata']['name']}", RULES_S)

    def tcp(self, source: Place, to: tuple[str, int], octets: int = 100, *, port: int = 0) -> Call:
        """Make one TCP connection, from FIN to FIN."""
        own = source.ip6 if ":" in to[0] else source.ip
        return self.note(Call(own, talk(_network(source), to, octets, port=port), *to))

    def udp(self, source: Place, to: tuple[str, int], octets: int = 100, *, port: int = 0) -> Call:
        """Ask and be answered."""
        own = source.ip6 if ":" in to[0] else source.ip
        with udp_socket(_network(source), to, port=port) as client:
            exchange(client, octets)
            return self.note(Call(own, client.getsockname()[1], *to, transport="udp"))

    def attempt(self, source: Place, to: tuple[str, int]) -> Call:
        """Dial, once, what refuses or is silent."""
        own = source.ip6 if ":" in to[0] else source.ip
        with _network(source).enter():
            client = socket.socket(socket.AF_INET6 if ":" in to[0] else socket.AF_INET)
        with client:
            client.settimeout(GIVE_UP_S)
            client.bind((own, 0))
            call = self.note(Call(own, client.getsockname()[1], *to))
            with pytest.raises((ConnectionRefusedError, TimeoutError)):
                client.connect(to)
        return call

    def note(self, call: Call) -> Call:
        """Take note of a call that was made: there may be records of it."""
        self._calls.append(call)
        return call

    def entry(self, call: Call, at: str) -> Entry:
        """Return what a node's conntrack has about a call."""
        (line,) = self.cluster.nodes[at].conntrack(*_filters(call), family=call.family)
        found = re.findall(r"\b(src|dst|sport|dport|packets|bytes)=(\S+)", line)
        there, back = ({**dict(found[:6])}, {**dict(found[6:])})
        return Entry(
            (there["src"], int(there["sport"]), there["dst"], int(there["dport"])),
            (back["dst"], int(back["dport"]), back["src"], int(back["sport"])),
            (int(there["packets"]), int(there["bytes"]), int(back["packets"]), int(back["bytes"])),
        )

    def backend(self, call: Call, at: str) -> str:
        """Return the address that a node's kube-proxy sent a call to."""
        return self.entry(call, at).translated[2]

    def onward(self, call: Call, at: str) -> Call:
        """Return a call as the next node sees it."""
        translated = self.entry(call, at).translated
        return self.note(Call(*translated, transport=call.transport))

    def check(
        self,
        call: Call,
        at: str,
        source: Names,
        destination: Names,
        *,
        source_nat: Names | None = None,
        destination_nat: Names | None = None,
    ) -> Attributes:
        """Hold what a node says of a call against conntrack's entry and the names that the call must have."""
        attributes = self._last(call, at, lambda: self.entry(call, at).totals)
        entry = self.entry(call, at)
        wanted = _end("source", entry.original[:2], source) | _end("destination", entry.original[2:], destination)
        kinds = []
        if destination_nat is not None:
            kinds.append("dnat")
            wanted |= _end("destination.nat", entry.translated[2:], destination_nat)
        if source_nat is not None:
            kinds.append("snat")
            wanted |= _end("source.nat", entry.translated[:2], source_nat)
        wanted |= dict(zip(TOTALS, _passed(entry.totals, attributes), strict=True))
        wanted |= {"nat.kind": "+".join(kinds) or None, "network.type": call.family, "conntrack.zone.id": 0}
        _compare(attributes, wanted)
        return attributes

    def check_lost(self, call: Call, at: str, source: Names, destination: Names) -> Attributes:
        """Check what a node says of a call of one packet that it threw away, so that conntrack has nothing of it."""
        attributes = self._last(call, at, lambda: (1, SYN[call.family], 0, 0))
        wanted = _end("source", (), source) | _end("destination", (), destination) | call.wanted
        _compare(attributes, {**wanted, "nat.kind": None, "network.type": call.family})
        return attributes

    def _last(self, call: Call, at: str, totals: Callable[[], tuple[int, ...]]) -> Attributes:
        """Return the record of a call that has all of it: more than one has it where a window ended in its midst."""
        overs = ENDED if call.transport == "tcp" else STATES

        def has_all() -> bool:
            last = [one["attributes"] for one in self.agents.of(call, at)[-1:]]
            return any(one["flow.connection.state"] in overs and _totals(one) == _passed(totals(), one) for one in last)

        with suppress(AssertionError):  # what is missing will be told by a comparison
            wait_until(has_all, "the record")
        records = self.agents.of(call, at)
        assert records, f"{at} says nothing of {call.wanted}"
        self._checked.append((at, call))
        return records[-1]["attributes"]

    def who(self, call: Call, at: str, role: str) -> str | None:
        """Return the uid of the pod or Service that a node's records of a call name in a role, None without a name."""
        attributes = self._last(call, at, lambda: self.entry(call, at).totals)
        return attributes.get(f"{role}.k8s.pod.uid") or attributes.get(f"{role}.k8s.service.uid")

    def check_onward(self, call: Call, via: str, at: str, source: Names, destination: Names) -> Attributes:
        """Check what the node behind the first one says: it sees no translation."""
        return self.check(self.onward(call, via), at, source, destination)

    def verify(self) -> None:
        """Hold all records against all calls: no second record came later, and none is of a connection nobody made."""
        self.agents.stop()
        for at, call in self._checked:
            of_call = [one["attributes"] for one in self.agents.of(call, at)]
            assert len({one["flow.id"] for one in of_call}) == 1, of_call
            assert [one["flow.sequence"] for one in of_call] == list(range(len(of_call))), of_call
            assert all(_names(one) == _names(of_call[0]) for one in of_call), of_call
        known = {tuple(call.wanted.values()) for call in self._calls}
        records = {at: [one["attributes"] for one in self.agents.records(at)] for at in self.cluster.nodes}
        for said in records.values():
            known |= {_onward(one) for one in said if _dialled(one) in known}
        strange = [(at, one) for at, said in records.items() for one in said if not _is_known(one, known)]
        assert not strange, strange[:3]


def _end(role: str, place: tuple[Any, ...], names: Names) -> dict[str, Any]:
    """Return what a record must say of an end; names may have the address too."""
    end = {**dict(zip(("address", "port"), place, strict=False)), **names}
    return {f"{role}.{name}": value for name, value in end.items()}


def _compare(attributes: Attributes, wanted: Mapping[str, Any]) -> None:
    """Fail if a record says anything else than is wanted, or more of an end."""
    names = dict.fromkeys([*wanted, *_names(attributes)])
    pairs = {name: (attributes.get(name), wanted.get(name)) for name in names}
    wrong = [f"{name} is {said!r}, wanted {right!r}" for name, (said, right) in pairs.items() if said != right]
    assert not wrong, "\n".join([*wrong, f"in {attributes}"])


def _names(attributes: Attributes) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name.startswith(ENDS)}


def _passed(totals: tuple[int, ...], attributes: Attributes) -> tuple[int, ...]:
    """Return what passed: where the handshake was repeated (on a busy machine), conntrack ignored the first of it."""
    syn = SYN[attributes["network.type"]]
    again = totals[0] + 1, totals[1] + syn, totals[2] + 1, totals[3] + syn
    repeated = attributes.get("flow.duration", 0) >= SYN_AGAIN_S and _totals(attributes) == again
    return again if repeated and attributes["network.transport"] == "tcp" else totals


def _totals(attributes: Attributes) -> tuple[int, ...]:
    return tuple(attributes.get(name, 0) for name in TOTALS)


def _dialled(attributes: Attributes) -> tuple[Any, ...]:
    names = "source.address", "source.port", "destination.address", "destination.port", "network.transport"
    return tuple(attributes.get(name) for name in names)


def _onward(attributes: Attributes) -> tuple[Any, ...]:
    source, port, to, to_port, transport = _dialled(attributes)
    said = attributes.get
    return (
        said("source.nat.address", source),
        said("source.nat.port", port),
        said("destination.nat.address", to),
        said("destination.nat.port", to_port),
        transport,
    )


def _is_known(attributes: Attributes, known: set[tuple[Any, ...]]) -> bool:
    """Tell whether a record is of a call, or of what is asked all the time: the API server, and who has an address."""
    if attributes["network.transport"] in {"icmp", "icmpv6"} or _dialled(attributes) in known:
        return True
    return API_PORT in (attributes["source.port"], _onward(attributes)[3])


def _filters(call: Call) -> list[str]:
    source, port, to, to_port, transport = call.wanted.values()
    addresses = ["--orig-src", source, "--orig-dst", to]
    return ["-p", transport, *addresses, "--orig-port-src", str(port), "--orig-port-dst", str(to_port)]


def _network(place: Any) -> Namespace:
    """Return the namespace of a pod, a node or a host."""
    found: Namespace = place.network if isinstance(place, ClusterPod) else place.namespace
    return found


@contextmanager
def staged(cluster: Cluster, directory: Path, *arguments: str) -> Iterator[Stage]:
    """Run natlens on both nodes; when the tests are over, look at all records, and take pods and Services away."""
    try:
        with Agents(cluster, directory, "--log-level=debug", *arguments) as agents:
            stage = Stage(cluster, agents)
            yield stage
            stage.verify()
    finally:
        cluster.clear()
