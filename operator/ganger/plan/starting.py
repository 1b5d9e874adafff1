"""The stretch from nothing to a gang that runs: what is created, what is waited for, and what is said of it."""

from datetime import datetime

import msgspec

from ganger.api.types import TrainingJob
from ganger.contract import RESTART_GRACE_SECONDS
from ganger.plan import (
    admission,
    avoid,
    edition,
    elastic,
    ending,
    grace,
    hang,
    incidents,
    inquiry,
    ladder,
    lifecycle,
    lost,
    podgroup,
    pods,
    progress,
    settings,
    shared,
    straggler,
)
from ganger.plan.gang import Gang, attempt_of, is_over, probe_of
from ganger.plan.remedy import DISRUPTIONS
from ganger.plan.seen import Decision, Deletion, Event, Seen, deletions_of
from ganger.plan.site import Site
from ganger.plan.waiting import waiting

STATUS_DELAY_SECONDS = 2.0  # how long news of workers that come up may wait for more of it


def start(job: TrainingJob, seen: Seen, members: Gang, now: datetime, site: Site) -> Decision:
    """Return what creates the missing pods of the attempt, once nothing stands in its way, and says how far it is."""
    stale = _stale(job, members) + podgroup.deletions(podgroup.outdated(job, seen.groups), site)
    told = lost.noted(job, members, now) or inquiry.noted(job, seen.answer, now)
    told = told or avoid.released(job, members, now) or avoid.lift(job, members, now)
    if told is not None:
        status, text = told
        return Decision(status=status, events=(Event(reason="NodesChanged", message=text, warning=True),))
    if any(not is_over(pod) for pod in members.older):
        text = "waiting for the workers of the attempt before to stop"
        return coming_up(job, members, now, "WaitingForOldWorkers", text, deletions=stale)
    not_before = job.status.restarts.next_attempt_time if job.status.restarts is not None else None
    if not_before is not None and now < not_before and not members.present:
        left = (not_before - now).total_seconds()
        decision = coming_up(job, members, now, "Backoff", f"the next attempt starts at {not_before:%H:%M:%S} UTC")
        return msgspec.structs.replace(decision, requeue_after_seconds=left, deletions=stale)
    grouped = podgroup.is_grouped(job, members, site)
    obstacle = shared.obstacle(job, seen, members, grouped=grouped)
    if obstacle is not None:
        return coming_up(job, members, now, *obstacle, deletions=stale)
    if seen.refusal is not None and not members.started:
        if seen.refusal.permanent:
            return ending.fail(job, members, now, seen.refusal.reason, seen.refusal.message)
        # Half a gang only keeps resources from others: all or none, but for one that may go on smaller.
        is_well = not members.missing or elastic.is_enough(job, members)
        half = deletions_of(() if is_well else members.present.values(), RESTART_GRACE_SECONDS)
        return coming_up(job, members, now, seen.refusal.reason, seen.refusal.message, deletions=stale + half)
    to_share = shared.missing(job, seen, members, site, grouped=grouped)
    if members.started:
        numbers = elastic.probes_to_make(job, members, now) if seen.refusal is None else ()
        probes = tuple(admission.placed(pods.probe(job, job.status.attempt, number), seen.quota) for number in numbers)
        stale += deletions_of(elastic.probes_to_remove(job, members), None)
        return msgspec.structs.replace(_running(job, seen, members, now, stale), shared=to_share, pods=probes)
    if seen.asks and members.missing:
        # So that they avoid the node if it is in trouble; mostly its answer is there long before the old pods are gone.
        return Decision(deletions=stale, shared=to_share, requeue_after_seconds=inquiry.HOLD_SECONDS)
    lack = admission.lacks(job, seen.quota)
    if lack is not None and members.missing:
        return coming_up(job, members, now, *lack, deletions=stale)
    made_from = edition.edition(seen.stored or job) if members.missing else ""
    new = tuple(
        pods.pod(job, job.status.attempt, worker, site, grouped=grouped, made_from=made_from)
        for worker in members.missing
    )
    clash = next((text for text in (admission.conflict(pod, seen.quota) for pod in new) if text), "")
    if clash:
        return ending.fail(job, members, now, "AdmissionConflict", clash)
    new = tuple(admission.placed(pod, seen.quota) for pod in new)
    obstacle_of_pods = waiting(members, seen.group if grouped else None)
    if obstacle_of_pods.hopeless:
        return ending.fail(job, members, now, obstacle_of_pods.reason, obstacle_of_pods.message)
    reason, text = obstacle_of_pods.reason, obstacle_of_pods.message
    return coming_up(job, members, now, reason, text, deletions=stale, shared=to_share, pods=new)


def coming_up(
    job: TrainingJob,
    members: Gang,
    now: datetime,
    reason: str,
    message: str,
    *,
    deletions: tuple[Deletion, ...] = (),
    shared: tuple[dict[str, object], ...] = (),
    pods: tuple[dict[str, object], ...] = (),
) -> Decision:
    """Return the decision of a gang that waits for something, and says for what."""
    return Decision(
        status=lifecycle.news(job, lifecycle.starting(job, members, now, reason, message)),
        status_delay_seconds=STATUS_DELAY_SECONDS,
        deletions=deletions,
        shared=shared,
        pods=pods,
    )


def bounded(job: TrainingJob, members: Gang, now: datetime, decision: Decision) -> Decision:
    """Return the decision with a look again when the next deadline passes, or a gang may be resized."""
    left = (
        ending.deadline_seconds(job, members, now),
        elastic.wake_seconds(job, members, now),
        avoid.lift_seconds(job, members, now),
    )
    return decision.until(*left)


def _running(job: TrainingJob, seen: Seen, members: Gang, now: datetime, stale: tuple[Deletion, ...]) -> Decision:
    if ladder.assembling(job, members, seen.heard):
        return Decision(deletions=stale, requeue_after_seconds=ladder.seconds_left(job, now))
    status, of_hang = hang.noted(job, members, seen.heard, lifecycle.running(job, members, now), now)
    status, of_straggler = straggler.noted(job, members, seen.track, status, now)
    status = incidents.stalled(job, status, seen.live, now)
    told = grace.measured(job, progress.told(status, seen.live, now), seen.live, now)
    told = settings.noted(job, told, settings.agreed(job, members, seen.heard), now)
    if status != job.status:  # what the workers say comes along
        events: tuple[Event, ...] = (*of_hang, *of_straggler)
        if not job.status.is_true(lifecycle.RUNNING):
            message = f"all {members.num_workers} workers run (attempt {job.status.attempt})"
            events = (Event(reason="Running", message=message), *events)
        return Decision(status=told, deletions=stale, events=events)
    wait = progress.due_seconds(job.status, told, now)
    due = wait is not None and wait <= 0
    return Decision(status=told if due else None, deletions=stale, requeue_after_seconds=None if due else wait)


def _stale(job: TrainingJob, members: Gang) -> tuple[Deletion, ...]:
    """Pods of older attempts that must go. The ended ones of the attempt before stay, for their logs."""
    last = job.status.restarts.last if job.status.restarts is not None else None
    disrupted = last is None or last.reason in DISRUPTIONS or (last.exit_code is None and last.reason != "Hang")
    hurry = min(RESTART_GRACE_SECONDS, job.spec.termination_grace_period_seconds)
    seconds = None if disrupted or elastic.opened(job.status) else hurry
    kept = job.status.attempt - 1
    doomed = (pod for pod in members.older if not is_over(pod) or attempt_of(pod) < kept or probe_of(pod) >= 0)
    return deletions_of((*doomed, *members.exports.values(), *avoid.outdated(job, members)), seconds)
