"""The status of a job in each stretch of its life. Every function returns the whole new status; none writes it.

Conditions are the truth and `phase` is derived for people. A status that says nothing new equals the old one, so an
idle job costs no write.
"""

from datetime import datetime, timedelta

import msgspec

from ganger.api.conditions import MESSAGE_LENGTH_MAX
from ganger.api.status import Artifact, ExportStatus, Phase, Progress, Restarts, Rung, TrainingJobStatus
from ganger.api.types import TrainingJob
from ganger.plan import elastic, names, suspicion
from ganger.plan.facts import state
from ganger.plan.failure import Verdict
from ganger.plan.gang import Gang, created
from ganger.plan.headway import Headway, last_word, newest_checkpoint
from ganger.plan.quota import NOT_ADMITTED
from ganger.plan.report import progress, report, rollbacks, terminated

PODS_READY, RUNNING, SUSPENDED, COMPLETE, FAILED = "PodsReady", "Running", "Suspended", "Complete", "Failed"
EXPORTED = "Exported"  # of a job with spec.export whose training is done: its model files are there
SHRUNK = "Shrunk"  # of an elastic job: its gang is smaller than spec.workers
RECONCILING, STALLED = "Reconciling", "Stalled"
HANG_SUSPECTED, STRAGGLER = "HangSuspected", "Straggler"  # of a gang that runs
STEPS_MAX = 16  # that a status keeps


def _base(job: TrainingJob, gang: Gang) -> TrainingJobStatus:
    ready = gang.num_running + gang.num_succeeded
    return msgspec.structs.replace(
        job.status,
        observed_generation=job.metadata.generation,
        workers=f"{ready}/{job.spec.workers}",
        ready_workers=ready,
        selector=names.selector(job),
        gang_size=elastic.stored(job),
        start_time=job.status.start_time or created(tuple(gang.present.values())),
    )


def _phase(
    status: TrainingJobStatus, job: TrainingJob, now: datetime, phase: Phase, message: str = ""
) -> TrainingJobStatus:
    """Name the phase, and tell those who know nothing of training by the two conditions that they know (kstatus).

    Reconciling: on the way to what was asked for, as Flux and `kpt live` wait for. Stalled: it will not get there.
    """
    facts: list[tuple[str, bool, str, str]] = []
    if phase in ("Pending", "Starting", "Restarting"):
        facts.append((RECONCILING, True, phase, message))
    elif status.condition(RECONCILING) is not None:
        facts.append((RECONCILING, False, phase, ""))
    if phase == "Failed":
        facts.append((STALLED, True, "Failed", message))
    facts += _shrunk(job, status)
    if phase != "Running":
        facts += [(type_, False, phase, "") for type_ in (HANG_SUSPECTED, STRAGGLER) if status.is_true(type_)]
    status = state(status, job, now, *facts)
    return msgspec.structs.replace(status, phase=phase, message=message[:MESSAGE_LENGTH_MAX] or None)


def _shrunk(job: TrainingJob, status: TrainingJobStatus) -> list[tuple[str, bool, str, str]]:
    """Tell whether an elastic gang has fewer workers than it should, and what it waits for."""
    size, wanted = status.gang_size, job.spec.workers
    if size is None or (size >= wanted and status.condition(SHRUNK) is None):
        return []
    if size >= wanted:
        return [(SHRUNK, False, "FullSize", f"{size} of {wanted} workers")]
    later = status.resizes.grow_time if status.resizes is not None else None
    when = f" after {later:%H:%M:%S} UTC" if later is not None else ""
    message = f"{size} of {wanted} workers; the gang grows{when} as soon as there is room for the others"
    return [(SHRUNK, True, "FewerWorkers", message)]


def _told(job: TrainingJob, gang: Gang, status: TrainingJobStatus) -> TrainingJobStatus:
    """Take over what the workers said at their end."""
    ends = (terminated(pod) for pod in gang.present.values())
    at = max((end.finished_at for end in ends if end is not None and end.finished_at is not None), default=None)
    new: Progress | None = progress(last_word(gang), at)
    rolled = status.rollbacks
    for pod in gang.present.values():
        rolled = rollbacks(report(pod), rolled, at)
    return msgspec.structs.replace(
        status, progress=new or status.progress, checkpoint=newest_checkpoint(job, gang), rollbacks=rolled
    )


def starting(job: TrainingJob, gang: Gang, now: datetime, reason: str, message: str) -> TrainingJobStatus:
    """Return the status of a gang that is coming up, with what it waits for."""
    status = state(_base(job, gang), job, now, (PODS_READY, False, reason, message))
    if job.status.is_true(RUNNING):
        status = state(status, job, now, (RUNNING, False, reason, message))
    if job.status.is_true(SUSPENDED):
        status = state(status, job, now, (SUSPENDED, False, "Resumed", ""))
        status = msgspec.structs.replace(status, start_time=None, gang_size=elastic.wanted(job), round=0)
    placed = any(pod.spec.node_name for pod in gang.present.values())
    phase: Phase = "Restarting" if status.attempt > 0 else "Starting" if placed else "Pending"
    return _phase(status, job, now, phase, message)


def running(job: TrainingJob, gang: Gang, now: datetime) -> TrainingJobStatus:
    """Return the status of a gang of which every worker runs or has ended well."""
    message = f"all {gang.num_workers} workers run"
    status = state(
        _base(job, gang),
        job,
        now,
        (PODS_READY, True, "AllWorkersRun", message),
        (RUNNING, True, "AllWorkersRun", message),
    )
    if job.status.is_true(SUSPENDED):
        status = state(status, job, now, (SUSPENDED, False, "Resumed", ""))
    return _phase(status, job, now, "Running")


def suspended(
    job: TrainingJob,
    gang: Gang,
    now: datetime,
    reason: str = "SuspendRequested",
    message: str = "spec.suspend is true; the gang checkpoints and stops",
) -> TrainingJobStatus:
    """Return the status of a job that was told to stop until it is resumed, or is held by its queue."""
    facts = [(SUSPENDED, True, reason, message), (PODS_READY, False, "Suspended", message)]
    if job.status.condition(RUNNING) is not None:
        facts.append((RUNNING, False, "Suspended", message))
    status = state(_base(job, gang), job, now, *facts)
    status = msgspec.structs.replace(status, workers=f"0/{job.spec.workers}", ready_workers=0, start_time=None)
    said = message if reason == NOT_ADMITTED else "suspended"
    return _phase(_told(job, gang, status), job, now, "Suspended", said)


def restarting(
    job: TrainingJob,
    gang: Gang,
    verdict: Verdict,
    headway: Headway,
    now: datetime,
    rung: Rung = "Pods",
    round_: int = 0,
) -> TrainingJobStatus:
    """Return the status that opens the next attempt: the write that everything after it relies on.

    On another rung than Pods it opens `round_` of the present attempt, whose pods are and stay ready.
    """
    point = newest_checkpoint(job, gang)
    old = job.status.restarts or Restarts()
    steps = () if headway.progressed else old.steps_without_progress
    restarts = msgspec.structs.replace(
        old,
        counted=old.counted + verdict.counted,
        total=old.total + 1,
        without_progress=(0 if headway.progressed else old.without_progress) + verdict.counted,
        ignored_without_progress=(0 if headway.progressed else old.ignored_without_progress) + verdict.ignored,
        steps_without_progress=(*steps, *headway.steps)[-STEPS_MAX:] if verdict.counted else steps,
        checkpoint_step=headway.checkpoint_step,
        next_attempt_time=now + timedelta(seconds=verdict.delay_seconds) if verdict.delay_seconds else None,
        in_place=0 if rung == "Pods" else 1 + (0 if headway.progressed else old.in_place),
        last=msgspec.structs.replace(verdict.cause, rung=rung),
    )
    if rung != "Pods":
        message = f"round {job.status.round} of attempt {job.status.attempt} ended: {verdict.cause.reason}"
        status = state(_told(job, gang, _base(job, gang)), job, now, (RUNNING, False, "Restarting", message))
        status = msgspec.structs.replace(
            status,
            round=round_,
            restarts=restarts,
            checkpoint=point,
            workers=job.status.workers,
            ready_workers=job.status.ready_workers,
        )
        return _phase(status, job, now, "Restarting", message)
    message = f"attempt {job.status.attempt} ended: {verdict.cause.reason}"
    status = state(
        _told(job, gang, _base(job, gang)),
        job,
        now,
        (PODS_READY, False, "Restarting", message),
        (RUNNING, False, "Restarting", message),
    )
    status = msgspec.structs.replace(
        status,
        attempt=job.status.attempt + 1,
        round=0,
        gang_size=elastic.size_after_failure(job, gang),
        restarts=restarts,
        checkpoint=point,
        workers=f"0/{job.spec.workers}",
        ready_workers=0,
    )
    evidence = suspicion.of_attempt(gang, verdict.cause, counted=verdict.counted, exclude=verdict.exclude)
    status = suspicion.remember(status, evidence, now)
    return _phase(status, job, now, "Restarting", message)


def resized(job: TrainingJob, gang: Gang, move: elastic.Move, now: datetime) -> TrainingJobStatus:
    """Return the status that opens the next attempt with another size: the gang was well, so no restart is told."""
    facts = [(PODS_READY, False, "Resizing", move.message)]
    if job.status.condition(RUNNING) is not None:
        facts.append((RUNNING, False, "Resizing", move.message))
    status = msgspec.structs.replace(
        state(_told(job, gang, _base(job, gang)), job, now, *facts),
        attempt=job.status.attempt + 1,
        round=0,
        gang_size=move.size,
        resizes=move.resizes,
        restarts=_in_new_pods(job.status.restarts),
        workers=f"0/{job.spec.workers}",
        ready_workers=0,
    )
    return _phase(status, job, now, "Restarting", move.message)


def renewed(job: TrainingJob, gang: Gang, now: datetime, message: str) -> TrainingJobStatus:
    """Return the status that opens the next attempt of a gang that has to be made anew before it was complete."""
    status = msgspec.structs.replace(
        state(_base(job, gang), job, now, (PODS_READY, False, "ProfileChanged", message)),
        attempt=job.status.attempt + 1,
        round=0,
        gang_size=elastic.wanted(job),
        start_time=None,
        workers=f"0/{job.spec.workers}",
        ready_workers=0,
    )
    return _phase(status, job, now, "Restarting", message)


def made(artifacts: tuple[Artifact, ...]) -> str:
    """Return what files were made, in words."""
    worst = max((one.max_abs_diff or 0.0 for one in artifacts), default=0.0)
    return f"{', '.join(one.format for one in artifacts)}: made and compared, largest difference {worst:.2g}"


def news(job: TrainingJob, status: TrainingJobStatus) -> TrainingJobStatus | None:
    """Return the status if it says anything new, else None: then there is nothing to write."""
    return None if status == job.status else status


def waits_for(job: TrainingJob) -> str:
    """Return the reason why not all workers run, as the status has it, or ""."""
    condition = job.status.condition(PODS_READY)
    return condition.reason if condition is not None and condition.status == "False" else ""


def _in_new_pods(restarts: Restarts | None) -> Restarts | None:
    return None if restarts is None else msgspec.structs.replace(restarts, in_place=0)


def failed(
    job: TrainingJob, gang: Gang, now: datetime, reason: str, message: str, verdict: Verdict | None = None
) -> TrainingJobStatus:
    """Return the last status of a job that failed."""
    facts = [(FAILED, True, reason, message)]
    if job.status.condition(RUNNING) is not None:
        facts.append((RUNNING, False, "Failed", message))
    if job.status.export is not None:
        facts.append((EXPORTED, False, reason, message))
    status = state(_told(job, gang, _base(job, gang)), job, now, *facts)
    status = msgspec.structs.replace(status, completion_time=now)
    if verdict is not None:
        restarts = msgspec.structs.replace(job.status.restarts or Restarts(), last=verdict.cause)
        status = msgspec.structs.replace(status, restarts=restarts)
    return _phase(status, job, now, "Failed", message)


def exporting(
    job: TrainingJob, gang: Gang, now: datetime, export: ExportStatus, reason: str, message: str
) -> TrainingJobStatus:
    """Return the status of a job whose training is done and whose model files are not."""
    facts = [(EXPORTED, False, reason, message)]
    if job.status.condition(RUNNING) is not None:
        facts.append((RUNNING, False, "Exporting", "the training is done"))
    if job.status.is_true(SUSPENDED):
        facts.append((SUSPENDED, False, "Resumed", ""))
    pod = gang.exports.get(export.number)
    if pod is not None and pod.status.phase != "Pending" and not job.status.is_true(PODS_READY):
        facts.append((PODS_READY, True, "Exporting", message))  # what a queue waits for, after a suspension
    status = state(_trained(job, gang), job, now, *facts)
    return _phase(msgspec.structs.replace(status, export=export), job, now, "Exporting", message)


def _trained(job: TrainingJob, gang: Gang) -> TrainingJobStatus:
    """The status of a job whose training is done, with what its workers said at its end; they need not stay for it."""
    status = _base(job, gang)
    if job.status.export is None:
        return _told(job, gang, status)
    start = status.start_time or created(tuple(gang.exports.values()))
    kept = {"workers": job.status.workers, "ready_workers": job.status.ready_workers}
    return msgspec.structs.replace(status, start_time=start, **kept)


def complete(
    job: TrainingJob, gang: Gang, now: datetime, artifacts: tuple[Artifact, ...] | None = None
) -> TrainingJobStatus:
    """Return the last status of a job that reached its end. artifacts: its model files, None where none are wanted."""
    if artifacts is not None:
        message = made(artifacts)
        done = ((EXPORTED, True, "FilesMade", message), (COMPLETE, True, "Exported", message))
        status = msgspec.structs.replace(state(_trained(job, gang), job, now, *done), artifacts=artifacts)
        return _phase(msgspec.structs.replace(status, completion_time=now), job, now, "Complete")
    message = f"all {gang.num_workers} workers succeeded"
    facts = [(COMPLETE, True, "AllWorkersSucceeded", message)]
    if job.status.condition(RUNNING) is not None:
        facts.append((RUNNING, False, "Complete", message))
    status = state(_told(job, gang, _base(job, gang)), job, now, *facts)
    return _phase(msgspec.structs.replace(status, completion_time=now), job, now, "Complete")
