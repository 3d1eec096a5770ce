"""What an address was: the answer of every identity source."""

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

__all__ = ["UNKNOWN", "Endpoint", "Identity"]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """What stood behind one address (and port) at one time; a field that does not apply is None.

    Fields are named after the last part of the record's attribute: ``k8s_pod_name`` becomes
    ``source.k8s.pod.name``, ``source.nat.k8s.pod.name`` and so on.
    """

    k8s_namespace_name: str | None = None
    k8s_pod_name: str | None = None
    k8s_pod_uid: str | None = None
    k8s_node_name: str | None = None
    k8s_service_name: str | None = None
    k8s_service_uid: str | None = None
    k8s_owner_name: str | None = None
    k8s_owner_type: str | None = None
    k8s_owner_derived: bool | None = None
    k8s_object_kind: str | None = None
    cloud_availability_zone: str | None = None
    selected: tuple[tuple[str, str], ...] = ()
    """Labels and annotations that were asked for: the rest of the attribute's name
    (``k8s.pod.label.app``) and the value, ordered by name."""


UNKNOWN = Endpoint()


class Identity(Protocol):
    """Tells what an address was; implemented by the static file and by the live API."""

    def endpoint(self, address: str, port: int, transport: int, at_ns: int) -> Endpoint:
        """Return what ``address`` was at Unix time ``at_ns``.

        ``port`` and ``transport`` (IP protocol number) decide where an address alone does not
        (NodePort, host-network pods). Returns :data:`UNKNOWN` if nothing, or more than one thing,
        is known by that address.
        """
        ...

    def ports(self, address: str) -> Collection[tuple[int, int]]:
        """Return each (port, transport) that may change what ``address`` was; with another it is what port 0 says."""
        ...

    def borders(self, address: str, begin_ns: int, end_ns: int) -> Sequence[int]:
        """Return the times in (begin_ns, end_ns] from which ``address`` may have been something else, ascending."""
        ...

    @property
    def wait_ns(self) -> int:
        """How long after a packet its names may still come: before that an answer is not final."""
        ...
