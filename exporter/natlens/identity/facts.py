"""What is said about each address, by whom."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from natlens.identity.claims import Fact, Port, Role
from natlens.identity.nodes import Nodes
from natlens.identity.views import Views

__all__ = ["Facts"]

Key = TypeVar("Key", bound=Hashable)


class Facts:
    """Facts by what they are asked by; whatever changes makes the ``views`` that it bears on void."""

    def __init__(self, views: Views, nodes: Nodes) -> None:
        self._views, self._nodes = views, nodes
        self._at: dict[str, tuple[Fact, ...]] = {}
        self._on: dict[str, tuple[Fact, ...]] = {}
        self._node_ports: dict[Port, tuple[Fact, ...]] = {}
        self._node_port_borders: Sequence[int] | None = None

    def add(self, fact: Fact) -> None:
        """Enter a fact."""
        statement = fact.statement
        if statement.address:
            _add(self._at, statement.address, fact)
        elif statement.role == Role.NODE_PORT:
            for port in statement.ports:
                _add(self._node_ports, port, fact)
        else:
            _add(self._on, statement.node, fact)
        self._told(fact, 1)

    def remove(self, fact: Fact) -> None:
        """Take a fact out."""
        statement = fact.statement
        if statement.address:
            _remove(self._at, statement.address, fact)
        elif statement.role == Role.NODE_PORT:
            for port in statement.ports:
                _remove(self._node_ports, port, fact)
        else:
            _remove(self._on, statement.node, fact)
        self._told(fact, -1)

    def changed(self, fact: Fact) -> None:
        """Take note that the time in which a fact held has changed."""
        if fact.statement.address:
            self._views.drop(fact.statement.address)
        else:
            self._views.drop_nodes()
            self._node_port_borders = None

    def at(self, address: str) -> Sequence[Fact]:
        """Return what is said about an address itself."""
        return self._at.get(address, ())

    def on(self, node: str) -> Sequence[Fact]:
        """Return what is said about every address of a node."""
        return self._on.get(node, ())

    def node_ports(self) -> Mapping[Port, Sequence[Fact]]:
        """Return what is said about ports of every node."""
        return self._node_ports

    def node_port_borders(self) -> Sequence[int]:
        """Return the times at which an answer for any node may change because of NodePorts, ascending."""
        if self._node_port_borders is None:
            facts = [fact for several in self._node_ports.values() for fact in several]
            self._node_port_borders = tuple(sorted({time for fact in facts for time in fact.held.borders()}))
        return self._node_port_borders

    def _told(self, fact: Fact, times: int) -> None:
        self.changed(fact)
        if self._nodes.told(fact.statement.node, fact.statement.zone, times):
            self._views.clear()


def _add(table: dict[Key, tuple[Fact, ...]], key: Key, fact: Fact) -> None:
    table[key] = (*table.get(key, ()), fact)


def _remove(table: dict[Key, tuple[Fact, ...]], key: Key, fact: Fact) -> None:
    left = tuple(one for one in table[key] if one is not fact)
    if left:
        table[key] = left
    else:
        del table[key]
