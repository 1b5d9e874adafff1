"""Pods that do not end although they were told to, and the nodes that they are on (docs/adr/0009).

A kubelet that lives ends a pod within its grace period, which the deletion timestamp already includes. One that does
not answer leaves the pod Terminating for as long as nobody removes it. After nodeLostGracePeriodSeconds more the pod is
given up: the gang goes on without waiting for it. Its containers may still run; the fence of the checkpoints keeps what
they write out, and its name is never used again, for names carry the attempt.
"""

from datetime import datetime, timedelta

import msgspec

from ganger.api.observed import Pod
from ganger.api.status import Failure, Suspicion, TrainingJobStatus
from ganger.api.types import TrainingJob
from ganger.plan.gang import Gang
from ganger.plan.remedy import DISRUPTIONS
from ganger.plan.suspicion import Evidence, remember

LOST = "NodeLost"


def given_up_at(job: TrainingJob, pod: Pod) -> datetime | None:
    """Return when the pod is given up; None while nobody has told it to end."""
    told = pod.metadata.deletion_timestamp
    grace = job.spec.failure_policy.node_lost_grace_period_seconds
    return None if told is None else told + timedelta(seconds=grace)


def lost(job: TrainingJob, pods: tuple[Pod, ...], now: datetime) -> frozenset[str]:
    """Return the names of the pods that are given up."""
    times = ((pod.metadata.name, given_up_at(job, pod)) for pod in pods)
    return frozenset(name for name, time in times if time is not None and time <= now)


def wake_seconds(job: TrainingJob, pods: tuple[Pod, ...], now: datetime) -> float | None:
    """Return the seconds until the next pod would be given up, None where none is about to end."""
    times = (given_up_at(job, pod) for pod in pods)
    return min(((time - now).total_seconds() for time in times if time is not None and time > now), default=None)


def failure(job: TrainingJob, found: Failure, pod: Pod) -> Failure:
    """Return what is told of a pod that was given up. `found`: what was known of its end before."""
    seconds = job.spec.failure_policy.node_lost_grace_period_seconds
    where = f"node {pod.spec.node_name}" if pod.spec.node_name else "its node"
    why = f"; {found.message}" if found.message and found.reason != LOST else ""
    message = f"pod {pod.metadata.name} did not end {seconds} s after its grace period: {where} is taken for lost{why}"
    return msgspec.structs.replace(found, reason=LOST, message=message[:1000])


def noted(job: TrainingJob, gang: Gang, now: datetime) -> tuple[TrainingJobStatus, str] | None:
    """Return the status that remembers the lost nodes of earlier attempts, and a sentence; None once it does.

    Before anything is made for the present attempt, so that its pods avoid those nodes.
    """
    new = [pod for pod in gang.lost if pod.spec.node_name and not _is_known(job, pod)]
    if not new or not gang.missing:
        return None
    evidence = tuple(Evidence(node=node, reason=LOST) for node in sorted({pod.spec.node_name for pod in new}))
    status = remember(job.status, evidence, now, renew=True)
    restarts = status.restarts
    if restarts is not None and restarts.last is not None and restarts.last.reason in DISRUPTIONS - {LOST}:
        cause = next((pod for pod in new if pod.metadata.name == restarts.last.pod), None)
        if cause is not None:
            last = failure(job, restarts.last, cause)
            status = msgspec.structs.replace(status, restarts=msgspec.structs.replace(restarts, last=last))
    if status == job.status:
        return None
    pods, nodes = ", ".join(pod.metadata.name for pod in new[:4]), ", ".join(each.node for each in evidence[:4])
    return status, f"{pods} did not end in time: {nodes} is taken for lost, and the gang goes on without it"


def _is_known(job: TrainingJob, pod: Pod) -> bool:
    time = given_up_at(job, pod)

    def tells(one: Suspicion) -> bool:
        return one.node == pod.spec.node_name and one.time is not None and time is not None and one.time >= time

    return any(tells(one) for one in job.status.node_suspicions)
