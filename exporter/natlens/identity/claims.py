"""Who says an address is theirs: one owner is an answer, two are none."""

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

from natlens.identity.endpoint import Endpoint

__all__ = ["AMBIGUOUS", "Claims", "Subject"]

AMBIGUOUS = Endpoint(k8s_object_kind="ambiguous")
"""Stands for "more than one object"; it is never given to a caller of the index."""

Key = TypeVar("Key", bound=Hashable)


class Subject(NamedTuple):
    """An object: two claims of one subject are one claim, whatever else they know about it."""

    kind: str
    namespace: str
    name: str


class Holder(NamedTuple):
    """The one object that claims a key."""

    subject: Subject
    endpoint: Endpoint


class Claims(Generic[Key]):
    """A table from an address, or an address with a port, to the one object that claims it."""

    def __init__(self) -> None:
        self._holders: dict[Key, Holder | None] = {}

    def add(self, key: Key, subject: Subject, endpoint: Endpoint) -> None:
        """Enter a claim; a second subject makes the key ambiguous for good."""
        holder = self._holders.setdefault(key, Holder(subject, endpoint))
        if holder is not None and holder.subject != subject:
            self._holders[key] = None

    def replace(self, key: Key, subject: Subject, endpoint: Endpoint) -> None:
        """Put a better description of ``subject`` in place of what is there."""
        self._holders[key] = Holder(subject, endpoint)

    def take(self, other: "Claims[Key]") -> None:
        """Move all of ``other`` in here; none of its keys may be here already."""
        self._holders |= other._holders

    def holder(self, key: Key) -> Holder | None:
        """Return who claims ``key``; None if nobody, or more than one."""
        return self._holders.get(key)

    def __contains__(self, key: Key) -> bool:
        """Tell whether anybody claims ``key``."""
        return key in self._holders

    def endpoints(self) -> dict[Key, Endpoint]:
        """Return what each key is, :data:`AMBIGUOUS` where more than one object claims it."""
        return {key: holder.endpoint if holder else AMBIGUOUS for key, holder in self._holders.items()}
