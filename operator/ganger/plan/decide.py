"""The decision of one pass: from a job and what is seen of it to everything that is to be done.

Level-triggered: the answer depends on the present facts alone, never on the event that woke the pass. Rules that hold:
- Complete and Failed are absorbing; clean-up follows from them on every pass.
- Attempt and round move only by a status write, and nothing else happens in that pass (write-ahead, then act).
- A new attempt is created only when no container of an older one can still run, or it is on a node that was given up.
Order of the questions: ours at all? finished? suspended? held by its queue? overdue? complete? failed? else start what
is missing.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from ganger.api.observed import Pod
from ganger.api.status import Failure, Rung, TrainingJobStatus
from ganger.api.types import TrainingJob
from ganger.contract import CONTROLLER, RESTART_GRACE_SECONDS
from ganger.plan import (
    admission,
    avoid,
    edition,
    elastic,
    ending,
    giveway,
    grace,
    hang,
    incidents,
    inquiry,
    ladder,
    lifecycle,
    lost,
    podgroup,
    pods,
    profile,
    progress,
    quota,
    settings,
    shared,
    straggler,
    workload,
)
from ganger.plan.facts import state
from ganger.plan.failure import Verdict, judge, weigh
from ganger.plan.gang import Gang, attempt_of, gang, is_over, probe_of
from ganger.plan.headway import headway
from ganger.plan.remedy import DISRUPTIONS, advised
from ganger.plan.seen import Decision, Deletion, Event, Seen
from ganger.plan.site import NOWHERE, Site
from ganger.plan.suspicion import decayed
from ganger.plan.waiting import waiting

STATUS_DELAY_SECONDS = 2.0  # how long news of workers that come up may wait for more of it
VICTIM_RETRY_SECONDS = 0.5
SAMPLE_LINES = 3  # of the last lines of whoever failed, in the event


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
        decision = _until(decision, lost.wake_seconds(job, seen.pods, now), quota.retry_seconds(seen.quota))
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
    if obstacle is not None and members.num_succeeded < members.num_workers:
        if job.status.is_true(lifecycle.SUSPENDED):
            return _resumed(job, seen, members, fallen, now, site)
        return _unprofiled(job, members, now, obstacle)
    held = quota.hold(job, seen.quota, seen.stored)
    if held is not None:
        return _suspended(job, seen, members, now, site, held)
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
    if members.num_succeeded == members.num_workers:
        return ending.complete(job, members, now)
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
        return _failed(job, seen, members, fallen, now, site, through=through)
    hung = None if ladder.assembling(job, members, seen.heard) else hang.failure(job, members, seen.heard, now)
    if hung is not None:
        return _failed(job, seen, members, fallen, now, site, hung=hung)
    move = elastic.due(job, members, now)
    if move is not None:
        event = Event(reason="Resized", message=move.message)
        return Decision(status=lifecycle.resized(job, members, move, now), events=(event,))
    patience = giveway.due_seconds(job, seen, members, now)
    if patience is not None and patience <= 0:
        return _gives_way(job, seen, members, fallen, now)
    return _until(_bounded(job, members, now, _start(job, seen, members, now, site)), patience)


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
    doomed = _deletions(members.all, None) + podgroup.deletions(seen.groups, site)
    return Decision(status=_news(job, status), deletions=doomed, status_delay_seconds=STATUS_DELAY_SECONDS)


def _resumed(job: TrainingJob, seen: Seen, members: Gang, fallen: Gang, now: datetime, site: Site) -> Decision:
    """Stopping that has begun ends before the gang starts anew; where no pod was touched yet, none is."""
    if members.given_up and len(members.given_up) == len(members.present):
        return _failed(job, seen, members, fallen, now, site)
    if members.present or (seen.groups and site.pod_groups):
        return Decision(deletions=_deletions(members.all, None) + podgroup.deletions(seen.groups, site))
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
    half = _deletions(members.present.values(), RESTART_GRACE_SECONDS)
    decision = _coming_up(job, members, now, *obstacle, deletions=half)
    if lifecycle.waits_for(job) != obstacle[0]:
        event = Event(reason=obstacle[0], message=obstacle[1], warning=True)
        decision = msgspec.structs.replace(decision, events=(event,))
    return _bounded(job, members, now, decision)


def _failed(
    job: TrainingJob,
    seen: Seen,
    members: Gang,
    fallen: Gang,
    now: datetime,
    site: Site,
    *,
    through: Verdict | None = None,
    hung: Failure | None = None,
) -> Decision:
    """`fallen` counts workers that only reported their failure as ended. `through`: a restart in place failed."""
    far = headway(job, fallen, seen.live)
    if hung is not None:
        verdict = weigh(job, hung, progressed=far.progressed, step=far.step)
    else:
        verdict = through or judge(job, fallen, progressed=far.progressed, step=far.step, now=now)
    cause = verdict.cause
    if verdict.action == "wait":
        return Decision(requeue_after_seconds=VICTIM_RETRY_SECONDS)
    where = f"pod {cause.pod}" if cause.pod else "a worker"
    code = "" if cause.exit_code is None else f" (exit code {cause.exit_code})"
    sentence = f"{where} ended with {cause.reason}{code}" + (f": {cause.message}" if cause.message else "")
    if hung is not None:
        sentence = f"{cause.reason}: {cause.message}"
    if cause.last_lines and not cause.message:
        sentence += ": " + " / ".join(cause.last_lines[-SAMPLE_LINES:])
    if verdict.action == "fail":
        if verdict.note:
            sentence = f"{verdict.note}; {sentence}"
        return ending.fail(job, members, now, verdict.reason, sentence, verdict)
    counted = "counted" if verdict.counted else "not counted"
    when = f" in {verdict.delay_seconds:.0f} s" if verdict.delay_seconds else ""
    rung: Rung = "Pods"
    if through is None:
        rung = ladder.rung(job, members, seen.heard, verdict, site, progressed=far.progressed, now=now)
    round_ = ladder.next_round(job, seen.heard)
    what = f"attempt {job.status.attempt + 1} starts" if rung == "Pods" else f"{ladder.NAMES[rung]} {round_} starts"
    message = f"{sentence}; {what}{when} ({counted})"
    return Decision(
        status=lifecycle.restarting(job, fallen, verdict, far, now, rung, round_),
        events=(Event(reason="Restarting", message=advised(message, cause), warning=verdict.counted),),
    )


def _gives_way(job: TrainingJob, seen: Seen, members: Gang, fallen: Gang, now: datetime) -> Decision:
    verdict = giveway.verdict(job, members, now)
    status = lifecycle.restarting(job, fallen, verdict, headway(job, fallen, seen.live), now)
    message = (
        f"{verdict.cause.reason}: {verdict.cause.message}; attempt {status.attempt} starts in "
        f"{verdict.delay_seconds:.0f} s (not counted)"
    )
    return Decision(status=status, events=(Event(reason="Restarting", message=advised(message, verdict.cause)),))


def _start(job: TrainingJob, seen: Seen, members: Gang, now: datetime, site: Site) -> Decision:
    """Create what is missing of the attempt, once nothing stands in its way, and say how far it is."""
    stale = _stale(job, members) + podgroup.deletions(podgroup.outdated(job, seen.groups), site)
    told = lost.noted(job, members, now) or inquiry.noted(job, seen.answer, now)
    told = told or avoid.released(job, members, now) or avoid.lift(job, members, now)
    if told is not None:
        status, text = told
        return Decision(status=status, events=(Event(reason="NodesChanged", message=text, warning=True),))
    if any(not is_over(pod) for pod in members.older):
        text = "waiting for the workers of the attempt before to stop"
        return _coming_up(job, members, now, "WaitingForOldWorkers", text, deletions=stale)
    not_before = job.status.restarts.next_attempt_time if job.status.restarts is not None else None
    if not_before is not None and now < not_before and not members.present:
        left = (not_before - now).total_seconds()
        decision = _coming_up(job, members, now, "Backoff", f"the next attempt starts at {not_before:%H:%M:%S} UTC")
        return msgspec.structs.replace(decision, requeue_after_seconds=left, deletions=stale)
    grouped = podgroup.is_grouped(job, members, site)
    obstacle = shared.obstacle(job, seen, members, grouped=grouped)
    if obstacle is not None:
        return _coming_up(job, members, now, *obstacle, deletions=stale)
    if seen.refusal is not None and not members.started:
        if seen.refusal.permanent:
            return ending.fail(job, members, now, seen.refusal.reason, seen.refusal.message)
        # Half a gang only keeps resources from others: all or none, but for one that may go on smaller.
        is_well = not members.missing or elastic.is_enough(job, members)
        half = _deletions(() if is_well else members.present.values(), RESTART_GRACE_SECONDS)
        return _coming_up(job, members, now, seen.refusal.reason, seen.refusal.message, deletions=stale + half)
    to_share = shared.missing(job, seen, members, site, grouped=grouped)
    if members.started:
        numbers = elastic.probes_to_make(job, members, now) if seen.refusal is None else ()
        probes = tuple(admission.placed(pods.probe(job, job.status.attempt, number), seen.quota) for number in numbers)
        stale += _deletions(elastic.probes_to_remove(job, members), None)
        return msgspec.structs.replace(_running(job, seen, members, now, stale), shared=to_share, pods=probes)
    if seen.asks and members.missing:
        # So that they avoid the node if it is in trouble; mostly its answer is there long before the old pods are gone.
        return Decision(deletions=stale, shared=to_share, requeue_after_seconds=inquiry.HOLD_SECONDS)
    lack = admission.lacks(job, seen.quota)
    if lack is not None and members.missing:
        return _coming_up(job, members, now, *lack, deletions=stale)
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
    return _coming_up(job, members, now, reason, text, deletions=stale, shared=to_share, pods=new)


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


def _coming_up(
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
    return Decision(
        status=_news(job, lifecycle.starting(job, members, now, reason, message)),
        status_delay_seconds=STATUS_DELAY_SECONDS,
        deletions=deletions,
        shared=shared,
        pods=pods,
    )


def _bounded(job: TrainingJob, members: Gang, now: datetime, decision: Decision) -> Decision:
    """Look again when the next deadline passes, or a gang may be resized."""
    left = (
        ending.deadline_seconds(job, members, now),
        elastic.wake_seconds(job, members, now),
        avoid.lift_seconds(job, members, now),
    )
    return _until(decision, *left)


def _until(decision: Decision, *seconds: float | None) -> Decision:
    times = [each for each in (*seconds, decision.requeue_after_seconds) if each is not None]
    return msgspec.structs.replace(decision, requeue_after_seconds=min(times, default=None))


def _news(job: TrainingJob, status: TrainingJobStatus) -> TrainingJobStatus | None:
    return None if status == job.status else status


def _stale(job: TrainingJob, members: Gang) -> tuple[Deletion, ...]:
    """Pods of older attempts that must go. The ended ones of the attempt before stay, for their logs."""
    last = job.status.restarts.last if job.status.restarts is not None else None
    disrupted = last is None or last.reason in DISRUPTIONS or (last.exit_code is None and last.reason != "Hang")
    hurry = min(RESTART_GRACE_SECONDS, job.spec.termination_grace_period_seconds)
    seconds = None if disrupted or elastic.opened(job.status) else hurry
    kept = job.status.attempt - 1
    doomed = (pod for pod in members.older if not is_over(pod) or attempt_of(pod) < kept or probe_of(pod) >= 0)
    return _deletions((*doomed, *avoid.outdated(job, members)), seconds)


def _deletions(doomed: Iterable[Pod], grace_seconds: int | None) -> tuple[Deletion, ...]:
    return tuple(
        Deletion(metadata=pod.metadata, grace_seconds=grace_seconds)
        for pod in doomed
        if pod.metadata.deletion_timestamp is None
    )
