"""The decision of one pass: from a job and what is seen of it to everything that is to be done.

Level-triggered: the answer depends on the present facts alone, never on the event that woke the pass. Rules that hold:
- Complete and Failed are absorbing; clean-up follows from them on every pass.
- Attempt and round move only by a status write, and nothing else happens in that pass (write-ahead, then act).
- A new attempt is created only when no container of an older one can still run, or it is on a node that was given up.
Order of the questions: ours at all? finished? suspended? held by its queue? trained, so that only its model files are
to be made (`exporting`)? overdue? complete? failed? else start what is missing.
"""

from datetime import datetime

import msgspec

from ganger.api.types import TrainingJob
from ganger.contract import CONTROLLER, RESTART_GRACE_SECONDS
from ganger.plan import (
    admission,
    edition,
    elastic,
    ending,
    exporting,
    giveway,
    grace,
    hang,
    incidents,
    ladder,
    lifecycle,
    lost,
    podgroup,
    profile,
    progress,
    quota,
    restarting,
    settings,
    starting,
    workload,
)
from ganger.plan.facts import state
from ganger.plan.gang import Gang, attempt_of, gang
from ganger.plan.seen import Decision, Event, Seen, deletions_of
from ganger.plan.site import NOWHERE, Site
from ganger.plan.suspicion import decayed


def decide(
    job: TrainingJob, seen: Seen, now: datetime, unsupported: tuple[str, ...] = (), site: Site = NOWHERE
) -> Decision:
    """Return what to do now for one job. `job` is filled; `unsupported` says what of its spec cannot be served.

    Deterministic: the same values give the same decision. Applied until nothing changes, it settles.
    """
    if job.metadata.deletion_timestamp is not None or job.spec.managed_by not in (None, CONTROLLER):
        return Decision()
    asked, job = job, admission.bounded(job, seen.quota)
    members = gang(seen.pods, job.status.attempt, elastic.size(job), lost.lost(job, seen.pods, now))
    fallen = ladder.fallen(job, members, seen.heard)
    decision = _decide(job, seen, members, fallen, now, unsupported, site)
    if not job.status.finished and not job.spec.suspend:
        decision = decision.until(lost.wake_seconds(job, seen.pods, now), quota.retry_seconds(seen.quota))
    missing = profile.obstacle(seen.profile)
    change = workload.change(asked, members, seen, now, site, may_ask=missing is None)
    decision = msgspec.structs.replace(decision, workload=change)
    if decision.status is None:
        return decision
    # Time goes on without end, so it is written down only together with news.
    status = progress.accounted(job, fallen, seen.live, now, decayed(decision.status, now))
    held = quota.hold(asked, seen.quota, seen.stored) if missing is None else quota.Hold(*missing)
    status = state(status, job, now, *admission.facts(asked, seen.quota, held))
    events = decision.events + grace.warnings(job.status, status) + incidents.events(job, status)
    events += settings.events(job, status, settings.agreed(job, members, seen.heard))
    return msgspec.structs.replace(decision, status=status, events=events)


def _decide(
    job: TrainingJob,
    seen: Seen,
    members: Gang,
    fallen: Gang,
    now: datetime,
    unsupported: tuple[str, ...],
    site: Site,
) -> Decision:
    if job.status.finished:
        return ending.clean_up(job, members, now)
    if unsupported:
        return ending.fail(job, members, now, "Unsupported", "; ".join(unsupported))
    if members.newer:
        return _recovered(job, members)
    if job.spec.suspend:
        return _suspended(job, seen, members, now, site)
    obstacle = profile.obstacle(seen.profile)
    is_trained = job.status.export is not None or members.num_succeeded == members.num_workers
    if obstacle is not None and not is_trained:
        if job.status.is_true(lifecycle.SUSPENDED):
            return _resumed(job, seen, members, fallen, now, site)
        return _unprofiled(job, members, now, obstacle)
    held = quota.hold(job, seen.quota, seen.stored)
    if held is not None:
        return _suspended(job, seen, members, now, site, held)
    if job.status.export is not None:
        return exporting.step(job, seen, members, now, site)
    other = (
        edition.outdated(seen.stored or job, members.present.values())
        and not fallen.failed
        and not members.num_succeeded
    )
    if job.status.is_true(lifecycle.SUSPENDED) and (other or not members.started):
        return _resumed(job, seen, members, fallen, now, site)
    if other:
        text = "the spec was changed while the gang ran; it checkpoints and starts anew"
        status = lifecycle.suspended(job, members, now, "SpecChanged", text)
        return Decision(status=status, events=(Event(reason="SpecChanged", message=text),))
    overdue = ending.overdue(job, members, now)
    if overdue is not None:
        return ending.fail(job, members, now, *overdue)
    if job.spec.elastic is not None and job.status.gang_size is None:
        # The size first: pods that disagree about it would wait for each other.
        return Decision(status=lifecycle.starting(job, members, now, "Starting", "the gang starts"))
    if is_trained:
        return exporting.opened(job, members, now) if job.spec.export else ending.complete(job, members, now)
    is_due = seen.profile is not None and seen.profile.is_due
    if is_due and edition.has_other_values(members.present.values(), job.status.profile):
        # The profile has changed between the pods and the status that would keep their values.
        text = f"profile {job.spec.profile} changed while the gang came up; it starts anew with the new values"
        event = Event(reason="ProfileChanged", message=text)
        return Decision(status=lifecycle.renewed(job, members, now, text), events=(event,))
    # Before the gang was complete a pod that is gone was simply not created yet; afterwards it was lost.
    was_complete = job.status.is_true(lifecycle.PODS_READY)
    gone = members.given_up or (was_complete and (members.leaving or members.missing))
    through = ladder.fell_through(job, members, seen.heard, now)
    if fallen.failed or gone or through is not None:
        return restarting.failed(job, seen, members, fallen, now, site, through=through)
    hung = None if ladder.assembling(job, members, seen.heard) else hang.failure(job, members, seen.heard, now)
    if hung is not None:
        return restarting.failed(job, seen, members, fallen, now, site, hung=hung)
    move = elastic.due(job, members, now)
    if move is not None:
        event = Event(reason="Resized", message=move.message)
        return Decision(status=lifecycle.resized(job, members, move, now), events=(event,))
    patience = giveway.due_seconds(job, seen, members, now)
    if patience is not None and patience <= 0:
        return restarting.gives_way(job, seen, members, fallen, now)
    return starting.bounded(job, members, now, starting.start(job, seen, members, now, site)).until(patience)


def _recovered(job: TrainingJob, members: Gang) -> Decision:
    """The stored status is older than reality, as after a restore of etcd: take the attempt of the pods."""
    attempt = max(attempt_of(pod) for pod in members.newer)
    if job.spec.elastic is None:
        return Decision(status=msgspec.structs.replace(job.status, attempt=attempt, round=0))
    # How many pods that attempt has is lost: another one has as many as are wanted.
    return Decision(
        status=msgspec.structs.replace(job.status, attempt=attempt + 1, round=0, gang_size=job.spec.workers)
    )


def _suspended(
    job: TrainingJob, seen: Seen, members: Gang, now: datetime, site: Site, held: quota.Hold | None = None
) -> Decision:
    """Stop the gang and keep it stopped. held: by its queue; None where spec.suspend asks for it."""
    status = lifecycle.suspended(job, members, now)
    if held is not None:
        status = lifecycle.suspended(job, members, now, quota.NOT_ADMITTED, held.message)
    if not job.status.is_true(lifecycle.SUSPENDED):
        # Say it first: a crash between the two must not make the deleted pods look like a disruption.
        event = Event(reason="Suspended", message="the gang checkpoints and stops")
        if held is not None:
            event = Event(reason="Stopped" if members.present else "Queued", message=held.message)
        return Decision(status=status, events=(event,))
    # With its group: the attempt goes on under the same names, and a group is used once.
    doomed = deletions_of(members.all, None) + podgroup.deletions(seen.groups, site)
    return Decision(
        status=lifecycle.news(job, status), deletions=doomed, status_delay_seconds=starting.STATUS_DELAY_SECONDS
    )


def _resumed(job: TrainingJob, seen: Seen, members: Gang, fallen: Gang, now: datetime, site: Site) -> Decision:
    """Stopping that has begun ends before the gang starts anew; where no pod was touched yet, none is."""
    if members.given_up and len(members.given_up) == len(members.present):
        return restarting.failed(job, seen, members, fallen, now, site)
    if members.present or (seen.groups and site.pod_groups):
        return Decision(deletions=deletions_of(members.all, None) + podgroup.deletions(seen.groups, site))
    told = admission.message(job, seen.quota)
    reason, message = ("Admitted", told) if told else ("Resumed", "resumed; the gang starts anew")
    values, is_missing = job.status.profile if job.spec.profile is not None else None, False
    if seen.profile is not None:
        values, is_missing = seen.profile.taken, seen.profile.obstacle is not None
        reason, message = seen.profile.obstacle or (reason, message)
    status = msgspec.structs.replace(lifecycle.starting(job, members, now, reason, message), profile=values)
    return Decision(status=status, events=(Event(reason=reason, message=message, warning=is_missing),))


def _unprofiled(job: TrainingJob, members: Gang, now: datetime, obstacle: tuple[str, str]) -> Decision:
    """Wait for the profile, before any quota is asked for."""
    overdue = ending.overdue(job, members, now)
    if overdue is not None:
        return ending.fail(job, members, now, *overdue)
    half = deletions_of(members.present.values(), RESTART_GRACE_SECONDS)
    decision = starting.coming_up(job, members, now, *obstacle, deletions=half)
    if lifecycle.waits_for(job) != obstacle[0]:
        event = Event(reason=obstacle[0], message=obstacle[1], warning=True)
        decision = msgspec.structs.replace(decision, events=(event,))
    return starting.bounded(job, members, now, decision)
