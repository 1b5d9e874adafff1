"""Decide what a gang does after one of its workers failed.

The whole gang shares one fate: a lost worker leaves the others waiting in a collective. The cause is the earliest
failure that is not itself a consequence; the workers that died because a peer died are not blamed.
The exit codes are those of `contract.ExitCode`; rules follow Job `podFailurePolicy` (KEP-3329): the first match wins.
"""

from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct

from ganger.api.observed import Pod
from ganger.api.policy import FailurePolicy
from ganger.api.status import Failure, Restarts
from ganger.contract import NOT_COUNTED, USER_ERRORS
from ganger.plan.gang import Gang, attempt_of, worker_of
from ganger.plan.report import PEER_LOST, Report, report, terminated

DISRUPTIONS = frozenset({"Disrupted", "PodDeleted", "Evicted", "Preempted"})
VICTIM_WAIT_SECONDS = 3.0  # guessed: a kubelet reports an end within about a second
_LAST_MOMENT = datetime.max.replace(tzinfo=UTC)
_MESSAGE_LENGTH_MAX = 1000
_LINES_MAX, _LINE_LENGTH_MAX = 10, 512


class Verdict(Struct, frozen=True, kw_only=True):
    """One decision about one attempt.

    action: `restart` makes a new attempt, counted or not; `fail` ends the job; `wait` gives the culprit time to show.
    delay_seconds: before the next attempt; 0.0 after a first failure, for waiting would only waste GPUs.
    """

    action: Literal["restart", "fail", "wait"]
    cause: Failure
    reason: str = ""
    counted: bool = False
    delay_seconds: float = 0.0


def _disruption(pod: Pod) -> str:
    """Return the reason of a disruption that hit the pod, or "". Kubernetes says so by DisruptionTarget (KEP-3329)."""
    for condition in pod.status.conditions:
        if condition.type == "DisruptionTarget" and condition.status == "True":
            return condition.reason or "Disrupted"
    if pod.status.reason in ("Evicted", "Preempting", "NodeLost", "Terminated", "NodeShutdown"):
        return pod.status.reason
    return ""


def failure(pod: Pod) -> Failure:
    """Return what is known of one pod's end: the kubelet's word first, then the supervisor's."""
    end, said = terminated(pod), report(pod)
    disruption = _disruption(pod)
    reason = disruption or (end.reason if end is not None and end.reason == "OOMKilled" else "") or said.reason
    if not reason:
        reason = (end.reason if end is not None else pod.status.reason) or "Error"
    return Failure(
        attempt=max(0, attempt_of(pod)),
        reason=reason[:64],
        rank=said.rank,
        pod=pod.metadata.name,
        node=pod.spec.node_name,
        exit_code=end.exit_code if end is not None else None,
        message=(said.message or pod.status.message)[:_MESSAGE_LENGTH_MAX],
        time=end.finished_at if end is not None else pod.metadata.deletion_timestamp,
        last_lines=_last_lines(said),
    )


def _last_lines(said: Report) -> tuple[str, ...]:
    """The end of the traceback, else what the pod's standard error said last; cut to what a status may hold."""
    lines = said.traceback.splitlines() if said.traceback else said.last_lines
    return tuple(line[:_LINE_LENGTH_MAX] for line in lines[-_LINES_MAX:])


def _is_disruption(cause: Failure, pod: Pod | None) -> bool:
    return cause.reason in DISRUPTIONS or (pod is not None and bool(_disruption(pod)))


def cause(gang: Gang, now: datetime) -> tuple[Failure, Pod | None]:
    """Return the failure that the attempt died of, and its pod where there still is one.

    A disruption beats exit codes, since it makes workers exit; then the earliest end that is no consequence.
    """
    for pod in gang.present.values():
        disruption = _disruption(pod)
        if disruption:
            return failure(pod), pod
    culprits = [pod for pod in gang.failed if report(pod).reason != PEER_LOST and not _was_told_to_stop(pod)]
    if culprits:
        first = min(culprits, key=lambda pod: (_ended(pod), worker_of(pod)))
        return failure(first), first
    if gang.leaving:
        pod = gang.leaving[0]
        found = failure(pod)
        return Failure(
            attempt=found.attempt,
            reason="PodDeleted",
            pod=found.pod,
            node=found.node,
            message=f"pod {found.pod} was deleted",
            time=now,
        ), pod
    if gang.missing and not gang.failed:
        return Failure(
            attempt=max((attempt_of(pod) for pod in gang.present.values()), default=0),
            reason="PodDeleted",
            message=f"the pod of worker {gang.missing[0]} is gone",
            time=now,
        ), None
    victims = sorted(gang.failed, key=lambda pod: (_was_told_to_stop(pod), _ended(pod), worker_of(pod)))
    return failure(victims[0]), victims[0]


def _ended(pod: Pod) -> datetime:
    end = terminated(pod)
    return (end.finished_at if end is not None else None) or _LAST_MOMENT


def _was_told_to_stop(pod: Pod) -> bool:
    """Whether the worker stopped as asked: it is no culprit."""
    end = terminated(pod)
    return end is not None and end.exit_code in NOT_COUNTED


def _action(policy: FailurePolicy, cause: Failure) -> str:
    for rule in policy.rules:
        if cause.exit_code in rule.on_exit_codes or cause.reason in rule.on_reasons:
            return rule.action
    return "FailJob" if cause.exit_code in USER_ERRORS else "Count"


def judge(gang: Gang, policy: FailurePolicy, restarts: Restarts, *, progressed: bool, now: datetime) -> Verdict:
    """Return the gang's fate from its failed, leaving and missing workers.

    `progressed`: a checkpoint was committed since the failure before this one; the backoff starts anew. Raises
    AssertionError when nothing failed. Pure.
    """
    assert gang.failed or gang.leaving or gang.missing, "nothing failed"
    found, pod = cause(gang, now)
    age_seconds = (now - (found.time or now)).total_seconds()
    if found.reason == PEER_LOST and len(gang.failed) < gang.num_workers and age_seconds < VICTIM_WAIT_SECONDS:
        # A victim's end may be seen before the culprit's; the kubelets report each on its own.
        return Verdict(action="wait", cause=found)
    if _is_disruption(found, pod) or (pod is not None and _was_told_to_stop(pod)):
        return Verdict(action="restart", cause=found, reason=found.reason or "Disrupted")
    action = _action(policy, found)
    if action == "FailJob":
        return Verdict(action="fail", cause=found, reason=found.reason)
    if action == "Ignore":
        return Verdict(action="restart", cause=found, reason=found.reason)
    if restarts.counted >= policy.max_restarts:
        return Verdict(action="fail", cause=found, reason="MaxRestartsReached", counted=True)
    without_progress = 0 if progressed else restarts.without_progress
    delay = 0.0
    if without_progress > 0:
        # The exponent is clamped before use: 2.0 ** 10_000 would overflow.
        delay = min(policy.backoff.cap_seconds, policy.backoff.base_seconds * 2.0 ** min(without_progress - 1, 40))
    return Verdict(action="restart", cause=found, reason=found.reason, counted=True, delay_seconds=delay)
