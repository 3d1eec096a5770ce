"""What the records of several nodes say together, held against what was measured where connections begin.

Which node sees a connection, and as what, is told by the nodes' conntrack tables; how much it carried, by the wire.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, product
from typing import Any, NamedTuple

from natlens.ui.lab.packets import TCP, Directed
from natlens.ui.lab.wire import Count
from tests.cluster.api_server import PORT as API_PORT
from tests.cluster.nodes import ClusterNode

__all__ = ["Made", "Sums", "read_conntrack"]

Attributes = Mapping[str, Any]
Table = Mapping[Directed, Directed]
Figures = tuple[int, int, int, int]
VXLAN = 8472
DELTAS = "flow.bytes.delta", "flow.packets.delta", "flow.reverse.bytes.delta", "flow.reverse.packets.delta"
TOTALS = tuple(name.replace("delta", "total") for name in DELTAS)
ROLES = "source", "destination", "source.nat", "destination.nat"
LINE = re.compile(r"^\S+ +\d+ \S+ +(\d+) ")
PART = re.compile(r"\b(src|dst|sport|dport|type|code|id)=(\S+)")


class Made(NamedTuple):
    """A connection as its initiator knows it."""

    what: str
    taps: tuple[str, ...]
    """Where its packets may be seen first."""
    dialled: Directed
    way: tuple[str, ...]
    """How nodes should see it: ``a source*``, with a star where the record counts."""
    host: str
    """The node whose own process made it: the wire has it as translated."""

    def __str__(self) -> str:
        told = self.dialled
        return f"{self.what} ({told.src}:{told.sport} → {told.dst}:{told.dport}/{told.proto})"


class Sight(NamedTuple):
    """A node that a connection passes, and its conntrack entry: the tuple and what it becomes."""

    node: str
    original: Directed
    translated: Directed


def read_conntrack(node: ClusterNode) -> dict[Directed, Directed]:
    """Return what each tuple becomes on a node."""
    found = {}
    for line in chain(node.conntrack(), node.conntrack(family="ipv6")):
        head, parts = LINE.match(line), PART.findall(line)
        if head and len(parts) in (8, 10):
            middle = len(parts) // 2
            there, back = (_tuple(dict(half), int(head[1])) for half in (parts[:middle], parts[middle:]))
            found[there] = back.turned()
    return found


def _tuple(said: Mapping[str, str], proto: int) -> Directed:
    if "id" in said:
        return Directed(said["src"], int(said["id"]), said["dst"], int(said["type"]) << 8 | int(said["code"]), proto)
    return Directed(said["src"], int(said["sport"]), said["dst"], int(said["dport"]), proto)


class Sums:
    """Each method returns what is wrong, a line a mistake. ``pods``: name and node by address."""

    def __init__(
        self,
        made: Sequence[Made],
        wire: Mapping[str, Mapping[Directed, Count]],
        entries: Mapping[str, Table],
        records: Mapping[str, Sequence[Attributes]],
        pods: Mapping[str, tuple[str, str]],
    ) -> None:
        self.made, self._pods = made, pods
        self._wire, self._entries = wire, entries
        self._records: dict[tuple[str, Directed], list[Attributes]] = defaultdict(list)
        self._all = records
        for node, of_node in records.items():
            for one in of_node:
                self._records[node, _dialled(one)].append(one)
        self._sights = {one: list(self._follow(one)) for one in made}
        self._known = {(sight.node, sight.original) for sights in self._sights.values() for sight in sights}

    def _follow(self, one: Made) -> Iterator[Sight]:
        """Yield the nodes with agents that see a connection, each with the tuple that comes to it."""
        todo, seen = [one.dialled], set[tuple[str, Directed]]()
        while todo:
            now = todo.pop(0)
            for node, table in self._entries.items():
                if now in table and (node, now) not in seen:
                    seen.add((node, now))
                    todo.append(table[now])
                    if node in self._all:
                        yield Sight(node, now, table[now])

    def of(self, sight: Sight) -> list[Attributes]:
        """Return a node's records of a connection."""
        return self._records[sight.node, sight.original]

    def sights(self, one: Made) -> list[Sight]:
        """Return the nodes that see a connection."""
        return self._sights[one]

    def misplaced(self) -> list[str]:
        """Reporters and primaries: each record of each node says what it must, and no node is silent."""
        wrong = []
        for one in self.made:
            said = sorted(_standing(sight, self.of(sight)) for sight in self._sights[one])
            if said != sorted(one.way):
                wrong.append(f"{one}: {said}, wanted {sorted(one.way)}")
        return wrong

    def miscounted(self) -> list[str]:
        """A connection's octets and packets, both ways: the records that count, and each node's own, are the wire's."""
        wrong = []
        for one in self.made:
            wanted, primary = self._measured(one), [0, 0, 0, 0]
            for sight in self._sights[one]:
                records = self.of(sight)
                primary = [a + b for a, b in zip(primary, _sum(records, primary=True), strict=True)]
                if (own := _sum(records)) != wanted:
                    wrong.append(f"{one}: {sight.node} has {own}, on the wire {wanted}")
            if tuple(primary) != wanted:
                wrong.append(f"{one}: {primary} count, on the wire {wanted}")
        return wrong

    def _measured(self, one: Made) -> Figures:
        there = self._entries[one.host][one.dialled] if one.host else one.dialled
        for tap in one.taps:
            if there in self._wire[tap]:
                (octets, packets), back = self._wire[tap][there], self._wire[tap].get(there.turned(), Count())
                return octets, packets, back.octets, back.packets
        raise AssertionError(f"{one} is not on the wire")

    def totals(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return what all records that count add up to, and what it must be: connections, octets, packets."""
        names = "connections", *DELTAS
        counting = [
            one
            for node, records in self._all.items()
            for one in records
            if one["flow.primary"] and not self._is_noise(node, one)
        ]
        said = sum(one["flow.sequence"] == 0 for one in counting), *_sum(counting)
        measured = [self._measured(one) for one in self.made]
        wanted = len(self.made), *map(sum, zip(*measured, strict=True))
        return dict(zip(names, said, strict=True)), dict(zip(names, wanted, strict=True))

    def _is_noise(self, node: str, one: Attributes) -> bool:
        """Tell whether it is what nodes always do: neighbours, the API server, a tunnel's own packets."""
        dialled = _dialled(one)
        if (node, dialled) in self._known:
            return False
        ports = {dialled.sport, dialled.dport, one.get("destination.nat.port")}
        return "icmp" in one.get("network.transport", "icmp") or bool(ports & {API_PORT, VXLAN})

    def strange(self) -> list[str]:
        """Records of connections that nobody made, and what nodes always do that is not counted once."""
        wrong = []
        for node, records in self._all.items():
            for one in records:
                if self._is_noise(node, one):
                    if _dialled(one).dport == API_PORT and (one["flow.reporter"], one["flow.primary"]) != (
                        "source",
                        True,
                    ):
                        wrong.append(f"{node} has {one['flow.reporter']} for its own call: {one}")
                elif (node, _dialled(one)) not in self._known:
                    wrong.append(f"{node} tells of {one}")
        return wrong

    def misnumbered(self) -> list[str]:
        """Ids: one for a connection's life and another for each other; nodes that see the same TCP agree on it."""
        wrong, owners = [], defaultdict[str, set[Made]](set)
        for one in self.made:
            ids = defaultdict[Directed, set[str]](set)
            for sight in self._sights[one]:
                own = {record["flow.id"] for record in self.of(sight)}
                ids[sight.translated] |= own
                if len(own) != 1:
                    wrong.append(f"{one}: {sight.node} has ids {own}")
                for each in own:
                    owners[each].add(one)
            if one.dialled.proto == TCP:
                wrong += [f"{one}: ids {several} of {end}" for end, several in ids.items() if len(several) != 1]
                if len(set(map(frozenset, ids.values()))) != len(ids):
                    wrong.append(f"{one}: one id for different translations: {dict(ids)}")
        wrong += [f"{each} is the id of {list(map(str, many))}" for each, many in owners.items() if len(many) != 1]
        return wrong

    def misnamed(self) -> list[str]:
        """Names of a node's own pods: an address of one has its name in each role."""
        wrong = []
        for sight in chain.from_iterable(self._sights.values()):
            for one, role in product(self.of(sight), ROLES):
                name, node = self._pods.get(one.get(f"{role}.address", ""), ("", ""))
                if node == sight.node and (said := one.get(f"{role}.k8s.pod.name")) != name:
                    wrong.append(f"{sight}: {role} is {said!r}, wanted {name!r}")
        return wrong

    def unsteady(self) -> list[str]:
        """Sequence, start and totals over a flow's records."""
        wrong = []
        for sight in chain.from_iterable(self._sights.values()):
            records = self.of(sight)
            if [one["flow.sequence"] for one in records] != list(range(len(records))):
                wrong.append(f"{sight}: sequence {[one['flow.sequence'] for one in records]}")
            if len({one["flow.start_time"] for one in records}) > 1:
                wrong.append(f"{sight}: starts {[one['flow.start_time'] for one in records]}")
            if records and tuple(records[-1].get(name, 0) for name in TOTALS) != _sum(records):
                wrong.append(f"{sight}: totals are not the sum of the deltas")
        return wrong

    def mistakes(self) -> list[str]:
        """Return all that is wrong."""
        said, wanted = self.totals()
        wrong = [] if said == wanted else [f"counted are {said}, made were {wanted}"]
        looks = self.misplaced, self.miscounted, self.misnamed, self.strange, self.misnumbered, self.unsteady
        return [*wrong, *chain.from_iterable(look() for look in looks)]

    def records_per_sight(self) -> Counter[int]:
        """Return how many records nodes have of connections: many of those that last."""
        return Counter(len(self.of(sight)) for sights in self._sights.values() for sight in sights)


def _standing(sight: Sight, records: Sequence[Attributes]) -> str:
    """Return what a node's records say of where it stands; all of it if they differ."""
    said = {one["flow.reporter"] + "*" * one["flow.primary"] for one in records}
    return f"{sight.node.removeprefix('node-')} {'|'.join(sorted(said)) or 'nothing'}"


def _sum(records: Sequence[Attributes], *, primary: bool = False) -> Figures:
    counted = [one for one in records if one["flow.primary"] or not primary]
    octets, packets, back, packets_back = (sum(one.get(name, 0) for one in counted) for name in DELTAS)
    return octets, packets, back, packets_back


def _dialled(one: Attributes) -> Directed:
    said = one.get
    ports = said("source.port", 0), said("destination.port", 0)
    if "flow.icmp.id" in one:
        ports = one["flow.icmp.id"], one["flow.icmp.type.id"] << 8 | one["flow.icmp.code.id"]
    return Directed(
        one["source.address"], ports[0], one["destination.address"], ports[1], one.get("network.iana_number", 0)
    )
