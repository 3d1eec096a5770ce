"""When a pod had its address, from its own object: whole seconds of the kubelet's clock."""

from natlens.identity.intervals import BEGIN, END, SECOND
from natlens.identity.objects import ContainerStatus, Pod

__all__ = ["OVER", "pod_began", "pod_ended", "pod_proved", "pod_yields"]

OVER = {"Succeeded", "Failed"}
"""Phases of a pod whose address may already be another's."""
WITH_ADDRESS = {"PodReadyToStartContainers", "ContainersReady", "Ready"}
"""Conditions that a pod without an address cannot meet."""


def pod_began(pod: Pod) -> tuple[int | None, int | None]:
    """Return (no earlier than, surely by then) the pod had its address; None where it does not say."""
    since = pod.status.start_time or pod.metadata.creation_timestamp
    proofs = [_started(one) for one in pod.status.container_statuses or ()]
    proofs += [
        one.last_transition_time
        for one in pod.status.conditions or ()
        if one.type in WITH_ADDRESS and one.status == "True"
    ]
    proved = min((one for one in proofs if one), default=None)
    return since, None if proved is None else proved + SECOND


def pod_ended(pod: Pod) -> tuple[int, int] | None:
    """Return (surely until, no later than) the pod had its address; None if it does not say, or has it yet.

    A container that merely restarts ends nothing.
    """
    if pod.status.phase not in OVER and not pod.metadata.deletion_timestamp:
        return None
    states = [one.state.terminated if one.state else None for one in pod.status.container_statuses or ()]
    finished = [one.finished_at if one else None for one in states]
    if not finished or not all(finished):
        return None
    last = max(one for one in finished if one)
    return last, last + SECOND


def pod_proved(pod: Pod) -> int:
    """Return the last time at which the pod surely had its address: a container was started; BEGIN if none was."""
    return max((time for one in pod.status.container_statuses or () if (time := _started(one))), default=BEGIN)


def pod_yields(pod: Pod) -> int:
    """Return when the pod's deletion was asked for."""
    if not pod.metadata.deletion_timestamp:
        return END
    return pod.metadata.deletion_timestamp - (pod.metadata.deletion_grace_period_seconds or 0) * SECOND


def _started(status: ContainerStatus) -> int | None:
    state = status.state
    if state and state.running:
        return state.running.started_at
    return state.terminated.started_at if state and state.terminated else None
