"""What the workers' reports add to the status, and how often it is written for them alone.

A status write costs the API server and everybody who watches, so news of progress waits until ten seconds have passed
since the last, and without news there is none. Anything else that changes takes the news along.
"""

from datetime import datetime, timedelta

import msgspec

from ganger.api.status import CheckpointStatus, TrainingJobStatus
from ganger.api.types import TrainingJob
from ganger.plan import elastic, grace, ledger, report, settings
from ganger.plan.gang import Gang
from ganger.plan.live import Live

WRITE_SECONDS = 10.0


def told(status: TrainingJobStatus, live: Live | None, now: datetime) -> TrainingJobStatus:
    """Return the status with what the workers say; the same status when they say nothing of the training."""
    if live is None:
        return status
    new = report.progress(live.report, now)
    if new is not None and live.eta is not None:
        new = msgspec.structs.replace(
            new,
            eta_time=_second(live.eta.expected),
            eta_earliest_time=_second(live.eta.earliest),
            eta_latest_time=_second(live.eta.latest),
        )
    return msgspec.structs.replace(
        status,
        progress=new or status.progress,
        checkpoint=report.quarantined(live.report, _newest(status.checkpoint, report.checkpoint(live.report))),
        rollbacks=report.rollbacks(live.report, status.rollbacks, now),
    )


def due_seconds(old: TrainingJobStatus, new: TrainingJobStatus, now: datetime) -> float | None:
    """Return the seconds until the new status is worth a write, 0 or less for now, None while it says nothing new."""
    if _said(old) == _said(new):
        return None
    if old.progress is None or old.progress.updated_time is None:
        return 0.0
    # A clock that was set back must not hold the news up for longer.
    return min(WRITE_SECONDS, WRITE_SECONDS - (now - old.progress.updated_time).total_seconds())


def accounted(
    job: TrainingJob, gang: Gang, live: Live | None, now: datetime, status: TrainingJobStatus
) -> TrainingJobStatus:
    """Return the status that is about to be written, with the time since the last one accounted for."""
    goodput = ledger.account(job, gang, live, now)
    moves, anew = status.attempt > job.status.attempt, status.round > job.status.round
    kept = elastic.keeps_work(job, status) or grace.keeps_work(job, gang, status)
    if anew or (moves and not kept) or (_becomes(job.status, status, "Failed") and job.status.export is None):
        steps, seconds = ledger.lost(job, gang, live)
        goodput = ledger.lose(goodput, steps=steps, seconds=seconds)
    ends = moves or anew or any(_becomes(job.status, status, end) for end in ("Failed", "Complete", "Suspended"))
    if ends and live is not None and status.progress == job.status.progress:
        # No worker had a last word on the training, as a script has none: the newest report is what is known.
        status = told(status, msgspec.structs.replace(live, eta=None), now)
    steps, seconds = ledger.rolled_back(job, gang, live, status.rollbacks)
    goodput = ledger.lose(goodput, steps=steps, seconds=seconds)
    return grace.measured(job, msgspec.structs.replace(status, goodput=goodput), live, now)


def _becomes(old: TrainingJobStatus, new: TrainingJobStatus, type_: str) -> bool:
    return new.is_true(type_) and not old.is_true(type_)


def _said(status: TrainingJobStatus) -> object:
    """What of a status is news: not the moment, and not what follows from it."""
    progress = status.progress
    if progress is not None:
        progress = msgspec.structs.replace(
            progress,
            updated_time=None,
            eta_time=None,
            eta_earliest_time=None,
            eta_latest_time=None,
            samples_per_second=None,
        )
    return progress, status.checkpoint, status.rollbacks, status.live_config, settings.refused(status)


def _newest(known: CheckpointStatus | None, new: CheckpointStatus | None) -> CheckpointStatus | None:
    """Return the later of the two: by time, since an attempt may have gone on from an older step."""
    if known is None or new is None:
        return new or known
    new = msgspec.structs.replace(new, quarantined=known.quarantined)
    if known.latest_step is None:
        return new
    if known.latest_time is not None and new.latest_time is not None and known.latest_time != new.latest_time:
        return new if new.latest_time > known.latest_time else known
    return new if (new.latest_step or 0) >= (known.latest_step or 0) else known


def _second(moment: datetime) -> datetime:
    """Return the moment in whole seconds: nobody expects an end to the microsecond."""
    return moment.replace(microsecond=0) + timedelta(seconds=moment.microsecond >= 500_000)
