"""Answers that were given before, for as long as they hold."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from natlens.identity.claims import Port, Subject
from natlens.identity.endpoint import Endpoint

__all__ = ["View", "Views"]

MOST = 40_000
"""Addresses that are remembered: a scan of the internet must not fill the memory."""


class View(Struct, eq=False, gc=False):
    """What an address was in [since, until)."""

    since: int
    until: int
    plain: Endpoint
    """With a port that is not told apart."""
    ports: Mapping[Port, None]
    """The ports that are told apart, beside the NodePorts if it is a node's."""
    of_node: bool
    borders: Sequence[int]
    """All times at which it may have become something else, ascending, but for the NodePorts'."""
    exact: dict[Port, Endpoint] | None = None
    """Answers for ports that are told apart, as they were asked for."""


class Views:
    """One view of each address that was asked for, and which objects it depends on beside those that name it."""

    def __init__(self) -> None:
        self._of: dict[str, View] = {}
        self._dependents: dict[Subject, set[str]] = {}
        self._of_nodes: set[str] = set()
        self._entered = 0  # in either, since they were empty

    def __len__(self) -> int:
        """Return how many views there are."""
        return len(self._of)

    def get(self, address: str) -> View | None:
        """Return the view of an address; needs no lock."""
        return self._of.get(address)

    def put(self, address: str, view: View, needed: Sequence[Subject]) -> None:
        """Remember a view, which holds while nothing changes about the objects ``needed``."""
        if len(self._of) >= MOST or self._entered >= 8 * MOST:
            self.clear()
        self._of[address] = view
        self._entered += len(needed)
        if view.of_node:
            self._of_nodes.add(address)
        for subject in needed:
            self._dependents.setdefault(subject, set()).add(address)

    def endpoints(self) -> Iterator[Endpoint]:
        """Yield every answer that is remembered."""
        for view in self._of.values():
            yield view.plain
            yield from (view.exact or {}).values()

    def drop(self, address: str) -> None:
        """Forget a view."""
        self._of.pop(address, None)

    def drop_dependents(self, subject: Subject) -> None:
        """Forget the views that an object bears on."""
        for address in self._dependents.pop(subject, ()):
            self._of.pop(address, None)

    def drop_nodes(self) -> None:
        """Forget the views of nodes' addresses."""
        for address in self._of_nodes:
            self._of.pop(address, None)
        self._of_nodes.clear()

    def clear(self) -> None:
        """Forget them all."""
        self._of.clear()
        self._dependents.clear()
        self._of_nodes.clear()
        self._entered = 0
