"""Whether a worker that is told to stop has time for its last checkpoint (docs/adr/0016-grace-period.md). Pure.

The worker measures, the status says it in steps of a ladder: up at once, down only when half would do. So a figure that
wavers costs no write.
"""

import math
from datetime import datetime

import msgspec

from ganger.api.status import TrainingJobStatus
from ganger.api.types import TrainingJob
from ganger.plan.attribution import was_told_to_stop
from ganger.plan.facts import state
from ganger.plan.gang import Gang, is_over
from ganger.plan.live import Live
from ganger.plan.remedy import DISRUPTIONS
from ganger.plan.seen import Event

TOO_SHORT = "GracePeriodTooShort"
PART_MAX = 0.8  # of the grace period: disks are slowest when every pod of a drained node saves at once
_LADDER = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 120, 150, 200, 250, 300, 400, 500, 600)
_SECONDS_MAX = 3600


def measured(job: TrainingJob, status: TrainingJobStatus, live: Live | None, now: datetime) -> TrainingJobStatus:
    """Return `status` with the grace period that is needed, and the condition that says that it is too short.

    `job` carries the stored status. The same status where no worker has measured, or no checkpoint is kept.
    """
    known = job.status.checkpoint.grace_seconds_needed if job.status.checkpoint is not None else None
    new = live.report.grace_seconds_needed if live is not None else None
    needed = _settled(known, new)
    if status.checkpoint is None or needed is None:
        return status
    point = msgspec.structs.replace(status.checkpoint, grace_seconds_needed=needed)
    status = msgspec.structs.replace(status, checkpoint=point)
    period = job.spec.termination_grace_period_seconds
    short = needed > PART_MAX * period
    if not short and status.condition(TOO_SHORT) is None:
        return status
    text = f"a stop with a checkpoint takes up to {needed} s; spec.terminationGracePeriodSeconds is {period}"
    if short:
        text += f": set it to {_advised(needed)}, or steps since the last checkpoint may be lost"
    reason = "CheckpointTakesTooLong" if short else "TimeEnough"
    return state(status, job, now, (TOO_SHORT, short, reason, text))


def keeps_work(job: TrainingJob, gang: Gang, status: TrainingJobStatus) -> bool:
    """Whether `status` opens an attempt after a disruption whose workers are just making their last checkpoint.

    They are told to stop, all of them are there, and none has failed. Should the period be too short after all, the
    steps that were lost are not booked as such.
    """
    last, checkpoint = status.restarts.last if status.restarts is not None else None, job.spec.checkpoint
    stopping = all(was_told_to_stop(pod) or not is_over(pod) for pod in gang.present.values())
    return (
        status.attempt > job.status.attempt
        and last is not None
        and last.reason in DISRUPTIONS - {"NodeLost"}
        and (job.spec.task is not None and checkpoint is not None and checkpoint.resume != "Never")
        and not gang.missing
        and stopping
    )


def warnings(old: TrainingJobStatus, new: TrainingJobStatus) -> tuple[Event, ...]:
    """Return the event that a status write is told by which first says that the period is too short."""
    condition = new.condition(TOO_SHORT)
    if condition is None or condition.status != "True" or old.is_true(TOO_SHORT):
        return ()
    return (Event(reason=TOO_SHORT, message=condition.message, warning=True),)


def _settled(known: int | None, new: float | None) -> int | None:
    if new is None:
        return known
    step = next((step for step in _LADDER if step >= new), min(_SECONDS_MAX, math.ceil(new / 300) * 300))
    return step if known is None or step > known or step < known / 2 else known


def _advised(needed: int) -> int:
    """Return a period of which the need is half: room for a slow disk, in tens."""
    return min(_SECONDS_MAX, math.ceil(needed * 2 / 10) * 10)
