"""The top owner of a pod, as far as the pod itself tells."""

import re
from typing import NamedTuple

from natlens.identity.objects import Metadata, OwnerReference

__all__ = ["Owner", "named_owner", "owner_of"]

MINUTE = 60_000_000_000
EARLY, LATE = MINUTE, 120 * MINUTE
"""How far a CronJob's pod may be created from the minute that its Job is named after."""
JOB = re.compile(r"(?P<cronjob>.+)-(?P<minutes>\d{7,9})", re.ASCII)
DEPLOYED = re.compile(r"(?P<deployment>.+)-(?P<hash>[456789bcdf]{8,10})-[bcdfghjklmnpqrstvwxz2456789]{5}")
DIGITS = str.maketrans("456789bcdf", "0123456789")
LONGEST = 63


class Owner(NamedTuple):
    """Name and kind; ``derived`` is True when only a naming rule says so."""

    name: str
    type: str
    derived: bool | None


def owner_of(pod: Metadata) -> Owner | None:
    """Return the top owner of a pod, None for a bare pod.

    A ReplicaSet whose name ends in the pod's ``pod-template-hash`` was made by the Deployment named before it: the
    Deployment controller alone sets that label. A Job was made by a CronJob if its name ends in the minute (Unix time)
    for which it was due, and the pod is about that old.
    """
    reference = _controller(pod.owner_references or [])
    if reference is None:
        return None
    template_hash = (pod.labels or {}).get("pod-template-hash")
    if reference.kind == "ReplicaSet" and template_hash:
        deployment = reference.name.removesuffix(f"-{template_hash}")
        if deployment and deployment != reference.name:
            return Owner(deployment, "Deployment", derived=True)
    if reference.kind == "Job" and (scheduled := JOB.fullmatch(reference.name)) and pod.creation_timestamp:
        late = pod.creation_timestamp - int(scheduled["minutes"]) * MINUTE
        if -EARLY <= late <= LATE:
            return Owner(scheduled["cronjob"], "CronJob", derived=True)
    return Owner(reference.name, reference.kind, derived=None)


def named_owner(pod: str) -> Owner | None:
    """Return the Deployment of a pod by the pod's name alone; None where the name might be made otherwise.

    ``<deployment>-<hash>-<suffix>``: the hash is a uint32 in the letters of Kubernetes' SafeEncodeString. A name of 63
    characters was cut.
    """
    found = DEPLOYED.fullmatch(pod)
    if found is None or len(pod) >= LONGEST or not re.search("[bcdf]", found["hash"]):
        return None
    digits = found["hash"].translate(DIGITS)
    if digits[0] == "0" or int(digits) >= 1 << 32:
        return None
    return Owner(found["deployment"], "Deployment", derived=True)


def _controller(references: list[OwnerReference]) -> OwnerReference | None:
    """Return the managing owner: at most one reference has ``controller: true``."""
    managing = [reference for reference in references if reference.controller]
    if managing or len(references) != 1:
        return managing[0] if len(managing) == 1 else None
    return references[0]
