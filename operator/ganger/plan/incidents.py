"""What befell a job's numbers and checkpoints without ending its attempt: a condition, and events for people. Pure."""

from datetime import datetime

from ganger.api.status import CheckpointStatus, TrainingJobStatus
from ganger.api.types import TrainingJob
from ganger.plan.facts import state
from ganger.plan.live import Live
from ganger.plan.seen import Event

CHECKPOINT_STALLED = "CheckpointStalled"
STALLED_AFTER = 3  # saves in a row that failed; one or two may be a moment's trouble of the volume


def stalled(job: TrainingJob, status: TrainingJobStatus, live: Live | None, now: datetime) -> TrainingJobStatus:
    """Return the status with the condition CheckpointStalled: True after `STALLED_AFTER` failed saves in a row.

    It turns False with the next commit, and is absent while it was never True.
    """
    if live is None:
        return status
    trouble, known = live.report.checkpoint_trouble, status.is_true(CHECKPOINT_STALLED)
    if trouble is not None and trouble.in_a_row >= STALLED_AFTER:
        if known:
            return status  # the count goes on; to write that down would cost a write for each save
        reason = trouble.reason
        text = f"{trouble.in_a_row} saves in a row failed: {trouble.message}; a restart would lose the work since then"
    elif known and trouble is None and live.report.checkpoint is not None:
        reason, text = "Saved", f"checkpoint {live.report.checkpoint.step} was committed"
    else:
        return status
    return state(status, job, now, (CHECKPOINT_STALLED, not known, reason, text))


def events(job: TrainingJob, new: TrainingJobStatus) -> tuple[Event, ...]:
    """Return an event for each thing that the new status tells and the job's present one does not."""
    old, found = job.status, []
    rolled = new.rollbacks
    if rolled is not None and rolled.count > (old.rollbacks.count if old.rollbacks is not None else 0):
        found.append(
            Event(
                reason="RolledBack",
                message=f"a NaN or an infinity at step {rolled.last_step}: went back to the checkpoint of step "
                f"{rolled.to_step} and skips the data since (rollback {rolled.count} of at most "
                f"{job.spec.failure_policy.max_rollbacks})",
                warning=True,
            )
        )
    damaged = [name for name in _quarantined(new.checkpoint) if name not in _quarantined(old.checkpoint)]
    if damaged:
        text = f"{', '.join(damaged)}: failed verification, never loaded; look at the volume, then delete them"
        found.append(Event(reason="CheckpointQuarantined", message=text, warning=True))
    condition = new.condition(CHECKPOINT_STALLED)
    if condition is not None and condition.status == "True" and not old.is_true(CHECKPOINT_STALLED):
        found.append(Event(reason=CHECKPOINT_STALLED, message=condition.message, warning=True))
    return tuple(found)


def _quarantined(point: CheckpointStatus | None) -> tuple[str, ...]:
    return point.quarantined if point is not None else ()
