"""The top owner of a pod, as far as the pod itself tells."""

from typing import NamedTuple

from natlens.identity.objects import Metadata, OwnerReference

__all__ = ["Owner", "owner_of"]


class Owner(NamedTuple):
    """Name and kind; ``derived`` is True when only a naming rule says so."""

    name: str
    type: str
    derived: bool | None


def owner_of(pod: Metadata) -> Owner | None:
    """Return the top owner of a pod, None for a bare pod.

    A ReplicaSet whose name ends in the pod's ``pod-template-hash`` was made by the Deployment named
    before it: the Deployment controller alone sets that label. A Job stays a Job: a CronJob's Jobs
    look like any other Job whose name ends in a number.
    """
    reference = _controller(pod.owner_references or [])
    if reference is None:
        return None
    template_hash = (pod.labels or {}).get("pod-template-hash")
    if reference.kind == "ReplicaSet" and template_hash:
        deployment = reference.name.removesuffix(f"-{template_hash}")
        if deployment and deployment != reference.name:
            return Owner(deployment, "Deployment", derived=True)
    return Owner(reference.name, reference.kind, derived=None)


def _controller(references: list[OwnerReference]) -> OwnerReference | None:
    """Return the managing owner: at most one reference has ``controller: true``."""
    managing = [reference for reference in references if reference.controller]
    if managing or len(references) != 1:
        return managing[0] if len(managing) == 1 else None
    return references[0]
