"""From the last step of the training to the model files that were asked for (docs/adr/0027-exports.md). Pure.

The first status that has `status.export` says that the training is done: no pod of the gang is made after it, whatever
becomes of those that are left. Each try is a pod, its number is written ahead, and its last word tells the files. A try
that was disrupted is free, one that fails spends failurePolicy.maxRestarts, and what a program of the trainer calls an
error of the user's ends the job: the checkpoint stays, and `ganger export` asks again.
"""

from datetime import datetime, timedelta

import msgspec

from ganger.api.observed import Pod
from ganger.api.status import ExportStatus, Failure, Restarts
from ganger.api.types import TrainingJob
from ganger.contract import RESTART_GRACE_SECONDS
from ganger.plan import admission, edition, ending, exportpod, lifecycle, lost, names, quota, shared
from ganger.plan.attribution import disruption, failure, was_deleted, was_told_to_stop
from ganger.plan.failure import action, backoff_seconds
from ganger.plan.gang import Gang, export_of, is_over
from ganger.plan.remedy import advised
from ganger.plan.report import artifacts, report
from ganger.plan.seen import Decision, Deletion, Event, Seen, deletions_of
from ganger.plan.site import Site
from ganger.plan.waiting import Waiting, waiting

EXPORTING, FAILED, TOO_LONG = "Exporting", "ExportFailed", "ExportTooLong"
STATUS_DELAY_SECONDS = 2.0  # a pod that finds its place soon after all costs no write
_ALONE = Gang(num_workers=1, present={}, older=(), newer=())  # it meets nobody, so it needs no Service


def opened(job: TrainingJob, members: Gang, now: datetime) -> Decision:
    """Return the write that says that the training is done and its model files are to be made."""
    return _try(job, members, now, ExportStatus(number=0), "the training is done; its model files are made by pod")


def step(job: TrainingJob, seen: Seen, members: Gang, now: datetime, site: Site) -> Decision:
    """Return what to do now for a job whose training is done: one that has `status.export` and has not ended."""
    at = job.status.export
    assert at is not None
    if not job.spec.export:
        return ending.complete(job, members, now)  # taken out while the job was suspended
    left = ending.active_remaining(job, members, now)
    if left is not None and left <= 0:
        return ending.fail(job, members, now, "DeadlineExceeded", _overdue(job))
    return _step(job, seen, members, now, site, at).until(left)


def _step(job: TrainingJob, seen: Seen, members: Gang, now: datetime, site: Site, at: ExportStatus) -> Decision:
    if job.status.is_true(lifecycle.SUSPENDED):
        if quota.has_stopped(members):
            return _try(job, members, now, _next(at), "resumed; its model files are made by pod")
        return Decision(deletions=deletions_of(members.alive, None))
    pod = members.exports.get(at.number)
    # Of the gang those that ended well stay for their logs; a probe or a latecomer has nothing left to do.
    others = tuple(each for each in members.alive if each is not pod)
    doomed = deletions_of(others, RESTART_GRACE_SECONDS)
    if pod is not None and edition.outdated(seen.stored or job, (pod,)):
        if is_over(pod) or pod in members.lost:
            return _try(job, members, now, _next(at), "the spec was changed; its model files are made by pod")
        return Decision(deletions=doomed + deletions_of((pod,), RESTART_GRACE_SECONDS))
    if any(export_of(each) >= 0 and each not in members.lost for each in others):
        return Decision(deletions=doomed)  # two tries side by side would write the same files
    if pod is None:
        return _made(job, seen, members, now, site, at, doomed)
    if pod.status.phase == "Succeeded":
        return _succeeded(job, members, now, pod)
    if pod in members.lost or pod.status.phase == "Failed":
        return _failed(job, members, now, at, pod)
    return _told(job, members, now, at, _state(pod), doomed)


def _next(at: ExportStatus) -> ExportStatus:
    return msgspec.structs.replace(at, number=at.number + 1, next_try_time=None)


def _try(job: TrainingJob, members: Gang, now: datetime, new: ExportStatus, what: str) -> Decision:
    message = f"{what} {names.export(job.metadata.name, new.number)}"
    status = lifecycle.exporting(job, members, now, new, EXPORTING, message)
    return Decision(status=status, events=(Event(reason=EXPORTING, message=message),))


def _made(
    job: TrainingJob,
    seen: Seen,
    members: Gang,
    now: datetime,
    site: Site,
    at: ExportStatus,
    doomed: tuple[Deletion, ...],
) -> Decision:
    """Create the pod once nothing stands in its way. One that somebody deleted is made again under its name."""
    if at.next_try_time is not None and now < at.next_try_time:
        return Decision(deletions=doomed, requeue_after_seconds=(at.next_try_time - now).total_seconds())
    obstacle = shared.obstacle(job, seen, members, grouped=False) or admission.lacks(job, seen.quota)
    if obstacle is None and seen.refusal is not None:
        if seen.refusal.permanent:
            return ending.fail(job, members, now, seen.refusal.reason, seen.refusal.message)
        obstacle = seen.refusal.reason, seen.refusal.message
    if obstacle is not None:
        return _told(job, members, now, at, Waiting(reason=obstacle[0], message=obstacle[1]), doomed)
    manifest = exportpod.export_pod(job, at.number, members, made_from=edition.edition(seen.stored or job))
    clash = admission.conflict(manifest, seen.quota)
    if clash:
        return ending.fail(job, members, now, "AdmissionConflict", clash)
    manifest = admission.placed(manifest, seen.quota)
    manifest["spec"].pop("schedulingGates", None)  # Kueue chooses nodes for the gang, and this is none of it
    missing = shared.missing(job, seen, _ALONE, site, grouped=False)
    return Decision(deletions=doomed, shared=missing, pods=(manifest,))


def _state(pod: Pod) -> Waiting:
    """Return what keeps the pod from running, the usual words where it runs or is about to."""
    found = waiting(msgspec.structs.replace(_ALONE, present={0: pod}))
    if pod.status.phase == "Pending" and found.reason != "Starting":
        return found
    return Waiting(reason=EXPORTING, message=f"its model files are made by pod {pod.metadata.name}")


def _told(
    job: TrainingJob, members: Gang, now: datetime, at: ExportStatus, what: Waiting, doomed: tuple[Deletion, ...]
) -> Decision:
    if what.hopeless:
        return ending.fail(job, members, now, what.reason, what.message)
    known, message = job.status.condition(lifecycle.EXPORTED), what.message
    if known is not None and known.reason == what.reason == EXPORTING:
        message = known.message  # all is well, in whatever words it was said first
    status = lifecycle.exporting(job, members, now, at, what.reason, message)
    return Decision(status=lifecycle.news(job, status), status_delay_seconds=STATUS_DELAY_SECONDS, deletions=doomed)


def _succeeded(job: TrainingJob, members: Gang, now: datetime, pod: Pod) -> Decision:
    files = artifacts(report(pod))
    if len(files) != len(job.spec.export):
        text = f"{pod.metadata.name} ended well, but told of {len(files)} files instead of {len(job.spec.export)}"
        return ending.fail(job, members, now, FAILED, text)
    status = lifecycle.complete(job, members, now, files)
    return Decision(status=status, events=(Event(reason="Complete", message=lifecycle.made(files)),))


def _failed(job: TrainingJob, members: Gang, now: datetime, at: ExportStatus, pod: Pod) -> Decision:
    found, policy = failure(job, pod), job.spec.failure_policy
    if pod in members.lost:
        found = lost.failure(job, found, pod)
    if pod.status.reason == "DeadlineExceeded":
        text = f"{pod.metadata.name} was ended {exportpod.SECONDS_MAX} s after its start"
        found = msgspec.structs.replace(found, reason=TOO_LONG, message=text)
    is_free = pod in members.lost or was_deleted(pod) or was_told_to_stop(pod) or bool(disruption(pod))
    if is_free and pod.metadata.deletion_timestamp is not None and pod not in members.lost:
        return Decision()  # once it is gone it is made again: as if it had gone while nobody looked
    wanted = "Ignore" if is_free else "FailJob" if found.reason == TOO_LONG else action(policy, found)
    if wanted == "FailJob":
        return _given_up(job, members, now, at, found, found.message)
    is_counted = wanted != "Ignore"
    if is_counted and at.counted >= policy.max_restarts:
        text = f"{at.counted} tries are spent (failurePolicy.maxRestarts); {found.message}"
        return _given_up(job, members, now, at, found, text)
    seconds = 0.0
    if not is_free:  # as many as a gang waits that failed as often in a row
        seconds = backoff_seconds(policy, Restarts(without_progress=at.number), progressed=False)
    new = ExportStatus(
        number=at.number + 1,
        counted=at.counted + is_counted,
        next_try_time=now + timedelta(seconds=seconds) if seconds else None,
        last=found,
    )
    said = f"{found.reason}: {found.message}" if found.message else found.reason
    when, counted = f" in {seconds:.0f} s" if seconds else "", "counted" if is_counted else "not counted"
    follower = names.export(job.metadata.name, new.number)
    message = f"pod {pod.metadata.name} ended with {said}; {follower} starts{when} ({counted})"
    status = lifecycle.exporting(job, members, now, new, EXPORTING, message)
    return Decision(
        status=status, events=(Event(reason="ExportRetried", message=advised(message, found), warning=is_counted),)
    )


def _given_up(
    job: TrainingJob, members: Gang, now: datetime, at: ExportStatus, found: Failure, message: str
) -> Decision:
    """End the job for that failure, and keep what was made before it."""
    pod = members.exports.get(at.number)
    status = lifecycle.failed(job, members, now, found.reason, message)
    status = msgspec.structs.replace(
        status,
        export=msgspec.structs.replace(at, last=found),
        artifacts=artifacts(report(pod)) if pod is not None else (),
    )
    return Decision(status=status, events=(Event(reason=found.reason, message=advised(message, found), warning=True),))


def _overdue(job: TrainingJob) -> str:
    return f"trained, but its model files were not made {job.spec.active_deadline_seconds} s after the start"
