"""How a job ends, and what is cleaned up afterwards.

Complete and Failed are absorbing: after them no status is written and no pod is created, and what the policy removes is
removed on every pass until it is gone.
"""

from datetime import datetime, timedelta

from ganger.api.types import TrainingJob
from ganger.plan import lifecycle
from ganger.plan.failure import Verdict
from ganger.plan.gang import Gang, created, is_over
from ganger.plan.remedy import advised
from ganger.plan.seen import Decision, Deletion, Event
from ganger.plan.waiting import IMAGE_PULL, waiting


def remaining(since: datetime | None, seconds: int | None, now: datetime) -> float | None:
    """Return the seconds left of a period, negative when it is over, or None when nothing runs."""
    if since is None or seconds is None:
        return None
    return (since + timedelta(seconds=seconds) - now).total_seconds()


def active_remaining(job: TrainingJob, gang: Gang, now: datetime) -> float | None:
    """Return the seconds until activeDeadlineSeconds; suspended time does not count, as in batch/v1 Job."""
    since = job.status.start_time or created(tuple(gang.present.values()))
    return remaining(since, job.spec.active_deadline_seconds, now)


def start_remaining(job: TrainingJob, now: datetime) -> float | None:
    """Return the seconds until startDeadlineSeconds, or None once every worker runs.

    Counted from the creation, the resume or the end of the attempt before, whichever came last.
    """
    if job.status.is_true(lifecycle.PODS_READY):
        return None
    since = job.metadata.creation_timestamp
    for type_ in (lifecycle.SUSPENDED, lifecycle.PODS_READY):
        condition = job.status.condition(type_)
        if condition is not None and condition.last_transition_time is not None and since is not None:
            since = max(since, condition.last_transition_time)
    return remaining(since, job.spec.start_deadline_seconds, now)


def overdue(job: TrainingJob, gang: Gang, now: datetime) -> tuple[str, str] | None:
    """Return reason and message of the deadline that has passed, or None."""
    active = active_remaining(job, gang, now)
    if active is not None and active <= 0:
        return "DeadlineExceeded", f"not complete {job.spec.active_deadline_seconds} s after the start"
    start = start_remaining(job, now)
    if start is not None and start <= 0:
        obstacle = waiting(gang)
        reason = "ImagePull" if obstacle.reason in IMAGE_PULL else "StartDeadlineExceeded"
        why = obstacle.message if reason == "ImagePull" else job.status.message
        text = f"not all workers run after {job.spec.start_deadline_seconds} s"
        return reason, f"{text}: {why}" if why else text
    return None


def deadline_seconds(job: TrainingJob, gang: Gang, now: datetime) -> float | None:
    """Return the seconds until the next deadline, for the requeue."""
    left = (active_remaining(job, gang, now), start_remaining(job, now))
    return min((seconds for seconds in left if seconds is not None), default=None)


def fail(
    job: TrainingJob, gang: Gang, now: datetime, reason: str, message: str, verdict: Verdict | None = None
) -> Decision:
    """Return the decision that ends the job as Failed. Its pods are removed from the next pass on."""
    last = verdict.cause if verdict is not None else None
    return Decision(
        status=lifecycle.failed(job, gang, now, reason, message, verdict),
        events=(Event(reason=reason, message=advised(message, last, reason), warning=True),),
    )


def complete(job: TrainingJob, gang: Gang, now: datetime) -> Decision:
    """Return the decision that ends the job as Complete."""
    status = lifecycle.complete(job, gang, now)
    metrics = status.progress.metrics if status.progress is not None else ()
    said = ", ".join(f"{metric.name} {metric.value:.4g}" for metric in metrics)
    message = f"all {gang.num_workers} workers succeeded" + (f"; {said}" if said else "")
    return Decision(status=status, events=(Event(reason="Complete", message=message),))


def clean_up(job: TrainingJob, gang: Gang, now: datetime) -> Decision:
    """Return what a finished job still needs: pods removed by policy, and itself when its time to live is over."""
    left = remaining(job.status.completion_time, job.spec.ttl_seconds_after_finished, now)
    if left is not None and left <= 0:
        return Decision(delete_job=True)
    policy, probes = job.spec.clean_pod_policy, tuple(gang.probes.values())
    deletions = tuple(
        Deletion(metadata=pod.metadata)
        for pod in gang.all
        if pod.metadata.deletion_timestamp is None
        and (pod in probes or policy == "All" or (policy == "Running" and not is_over(pod)))
    )
    return Decision(deletions=deletions, requeue_after_seconds=left)
