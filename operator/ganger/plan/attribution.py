"""Whom and what an attempt died of: the class, the pod, the rank and the message of its first failure. Pure.

The kubelet's word comes first, then the supervisor's, then the exit code. Classes are those of `remedy.CLASSES`.
"""

from datetime import UTC, datetime

import msgspec

from ganger.api.observed import Condition, Pod
from ganger.api.status import Failure
from ganger.api.types import TrainingJob
from ganger.contract import NOT_COUNTED, ExitCode
from ganger.plan import lost
from ganger.plan.environment import processes_per_worker
from ganger.plan.gang import Gang, attempt_of, is_leaving, worker_of
from ganger.plan.hardware import added, broken_devices, told
from ganger.plan.remedy import CLASSES, VICTIMS
from ganger.plan.report import PEER_LOST, Report, report, terminated

# What DisruptionTarget says (KEP-3329), and before it the kubelet in the reason of the pod.
_BY_TARGET = {
    "PreemptionByScheduler": "Preempted",
    "PreemptionByKubeScheduler": "Preempted",  # until Kubernetes 1.26
    "EvictionByEvictionAPI": "Evicted",
    "DeletionByTaintManager": "NodeLost",
    "DeletionByPodGC": "NodeLost",
    "TerminationByKubelet": "Evicted",
}
_BY_POD = {
    "Evicted": "Evicted",
    "Preempting": "Preempted",
    "NodeLost": "NodeLost",
    "Terminated": "NodeShutdown",
    "NodeShutdown": "NodeShutdown",
}
_NOT_STARTED = frozenset({"StartError", "ContainerCannotRun"})
_LAST_MOMENT = datetime.max.replace(tzinfo=UTC)
_MESSAGE_LENGTH_MAX = 1000
_LINES_MAX, _LINE_LENGTH_MAX = 10, 512


def disruption(pod: Pod) -> str:
    """Return the class of a disruption that hit the pod, or ""."""
    if pod.status.reason in _BY_POD:
        return _BY_POD[pod.status.reason]
    target = _target(pod)
    return "" if target is None else _BY_TARGET.get(target.reason, "Disrupted")


def was_told_to_stop(pod: Pod) -> bool:
    """Whether the worker stopped as asked, or was killed on its way there: it is no culprit."""
    end = terminated(pod)
    return end is not None and (end.exit_code in NOT_COUNTED or report(pod).outcome == "Preempted")


def was_deleted(pod: Pod) -> bool:
    """Whether the worker stops, or stopped, because somebody deleted its pod."""
    return is_leaving(pod) or (pod.metadata.deletion_timestamp is not None and was_told_to_stop(pod))


def failure(job: TrainingJob, pod: Pod) -> Failure:
    """Return what is known of one pod's end."""
    end, said, target = terminated(pod), report(pod), _target(pod)
    reason, message = _class_and_message(job, pod, said)
    return Failure(
        attempt=max(0, attempt_of(pod)),
        reason=reason[:64],
        rank=_rank(job, pod, said, reason),
        pod=pod.metadata.name,
        node=pod.spec.node_name,
        exit_code=end.exit_code if end is not None else None,
        message=added(message, told(broken_devices(pod)), length_max=_MESSAGE_LENGTH_MAX),
        time=end.finished_at if end is not None else target.last_transition_time if target is not None else None,
        last_lines=_last_lines(said),
    )


def cause(job: TrainingJob, gang: Gang, now: datetime) -> tuple[Failure, Pod | None]:
    """Return the failure that the attempt died of, and its pod where there still is one.

    A lost node comes first, then a disruption, since it makes workers exit; then the earliest end that is no
    consequence.
    """
    if gang.given_up:
        pod = gang.given_up[0]
        found = msgspec.structs.replace(failure(job, pod), time=now)
        return lost.failure(job, found, pod), pod
    for pod in gang.present.values():
        if disruption(pod):
            return failure(job, pod), pod
    culprits = [pod for pod in gang.failed if report(pod).reason not in VICTIMS and not was_told_to_stop(pod)]
    if culprits:
        first = min(culprits, key=lambda pod: (_ended(pod), worker_of(pod)))
        return failure(job, first), first
    deleted = [pod for pod in gang.present.values() if was_deleted(pod)]
    if deleted:
        found = failure(job, deleted[0])
        message = f"pod {found.pod} was deleted" + (f": {found.message}" if found.message else "")
        found = msgspec.structs.replace(found, reason="PodDeleted", message=message, time=found.time or now)
        return found, deleted[0]
    if gang.missing and not gang.failed:
        message = f"the pod of worker {gang.missing[0]} is gone"
        return Failure(attempt=job.status.attempt, reason="PodDeleted", message=message, time=now), None
    # Whoever was told to stop began it; whoever waited in vain saw it before those that it hung up on.
    first = min(
        gang.failed,
        key=lambda pod: (not was_told_to_stop(pod), report(pod).reason == PEER_LOST, _ended(pod), worker_of(pod)),
    )
    return failure(job, first), first


def _class_and_message(job: TrainingJob, pod: Pod, said: Report) -> tuple[str, str]:
    end, found, target = terminated(pod), disruption(pod), _target(pod)
    if found:
        words = (target.reason if target is not None else pod.status.reason, target.message if target else "")
        return found, ": ".join(word for word in (*words, pod.status.message or said.message) if word)
    if end is not None and "OOMKilled" in (end.reason, said.reason):
        return "OOMKilled", _out_of_memory(job, pod)
    if said.reason:
        return said.reason, said.message
    if end is None:
        # The kubelet refused the pod: an admission that failed leaves no container behind.
        return "PodRejected", ": ".join(word for word in (pod.status.reason, said.message) if word)
    if end.reason in _NOT_STARTED:
        return "StartError", said.message
    known = {int(ExitCode.PREEMPTED): "Preempted", int(ExitCode.FENCED): "Fenced"}.get(end.exit_code)
    named = end.reason if end.reason in CLASSES else ""
    return known or named or ("ProcessKilled" if end.exit_code > 128 else "ProcessExited"), said.message


def _out_of_memory(job: TrainingJob, pod: Pod) -> str:
    limit = job.spec.resources.limits.get("memory")
    of_limit = "its memory limit" if limit is None else f"its memory limit of {limit}"
    advice = "raise spec.resources.limits.memory or use a smaller batch"
    return f"worker {worker_of(pod)} used more than {of_limit}; {advice}"


def _rank(job: TrainingJob, pod: Pod, said: Report, reason: str) -> int | None:
    """The rank that the supervisor named; a worker of one process that was killed whole is its own rank."""
    if said.rank is None and reason == "OOMKilled" and processes_per_worker(job.spec) == 1:
        return max(0, worker_of(pod))
    return said.rank


def _target(pod: Pod) -> Condition | None:
    conditions = pod.status.conditions
    return next((each for each in conditions if each.type == "DisruptionTarget" and each.status == "True"), None)


def _ended(pod: Pod) -> datetime:
    end = terminated(pod)
    return (end.finished_at if end is not None else None) or _LAST_MOMENT


def _last_lines(said: Report) -> tuple[str, ...]:
    """The end of the traceback, else what the pod's standard error said last; cut to what a status may hold."""
    lines = said.traceback.splitlines() if said.traceback else said.last_lines
    return tuple(line[:_LINE_LENGTH_MAX] for line in lines[-_LINES_MAX:])
