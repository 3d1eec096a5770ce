"""What metrics tell apart: sets of attributes with a name, and which other attributes may be asked for."""

from collections.abc import Sequence

from natlens.errors import ConfigError
from natlens.otlp.batch import ROLES
from natlens.otlp.endpoints import ENDPOINT_FIELDS

__all__ = ["ALLOWED", "RESPONDER", "SETS", "chosen"]

RESPONDER = "flow.responder"
"""What answered: ``destination.nat`` where the destination was translated, else ``destination``."""

SETS: dict[str, tuple[str, ...]] = {
    "owner": (
        "source.k8s.namespace.name",
        "source.k8s.owner.name",
        "source.k8s.owner.type",
        "source.cloud.availability_zone",
        "destination.k8s.namespace.name",
        "destination.k8s.service.name",
        "flow.responder.k8s.namespace.name",
        "flow.responder.k8s.owner.name",
        "flow.responder.k8s.owner.type",
        "flow.responder.cloud.availability_zone",
        "network.transport",
    ),
    "service-backend": (
        "destination.k8s.namespace.name",
        "destination.k8s.service.name",
        "flow.responder.k8s.namespace.name",
        "flow.responder.k8s.pod.name",
        "flow.responder.k8s.node.name",
        "network.transport",
    ),
    "zone": (
        "source.cloud.availability_zone",
        "flow.responder.cloud.availability_zone",
        "network.transport",
    ),
    "pod": (
        "source.k8s.namespace.name",
        "source.k8s.pod.name",
        "destination.k8s.namespace.name",
        "destination.k8s.service.name",
        "flow.responder.k8s.namespace.name",
        "flow.responder.k8s.pod.name",
        "network.transport",
    ),
}
"""Name → attributes: what ``metrics_attributes`` may name at once."""

ALLOWED: tuple[str, ...] = (
    *(f"{role}.{name}" for role in (*ROLES, RESPONDER) for name, *_ in ENDPOINT_FIELDS),
    "source.address",
    "destination.address",
    "destination.port",
    "network.transport",
    "network.type",
    "network.interface.name",
    "nat.kind",
    "conntrack.zone.id",
    "flow.connection.state",
    "flow.reporter",
)
"""Every attribute that may be asked for: those of which a store can have a series each."""


def chosen(asked: Sequence[str]) -> tuple[str, ...]:
    """Return the attributes that ``metrics_attributes`` asks for, each once, in the order of :data:`ALLOWED`.

    Raises :class:`~natlens.errors.ConfigError` for what is neither a set nor such an attribute.
    """
    wanted: set[str] = set()
    for one in asked:
        if one not in SETS and one not in ALLOWED:
            raise ConfigError(
                f"metrics_attributes={one!r} is no set ({', '.join(SETS)}) and no attribute that a series may have: "
                "docs/metrics.md lists those"
            )
        wanted.update(SETS.get(one, (one,)))
    return tuple(name for name in ALLOWED if name in wanted)
