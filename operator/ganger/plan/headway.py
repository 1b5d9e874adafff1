"""How far an attempt came: its last step, and whether it committed a checkpoint. Pure."""

import msgspec
from msgspec import Struct

from ganger.api.status import CheckpointStatus, Restarts
from ganger.api.types import TrainingJob
from ganger.plan.gang import Gang
from ganger.plan.live import Live
from ganger.plan.report import Report, checkpoint, quarantined, report


class Headway(Struct, frozen=True, kw_only=True):
    """What one attempt achieved.

    progressed: it committed a checkpoint later than the one that it began from. step: where it ended, where that was
    told. checkpoint_step: the newest checkpoint of the job, from which the next attempt begins.
    """

    progressed: bool = False
    step: int | None = None
    checkpoint_step: int | None = None

    @property
    def steps(self) -> tuple[int, ...]:
        """The last step, as a tuple that is empty where it is unknown."""
        return () if self.step is None else (self.step,)


def last_word(gang: Gang) -> Report:
    """The word of worker 0, which speaks for the gang; of any other worker where worker 0 left none."""
    said = [report(pod) for pod in gang.present.values()]
    return next((word for word in said if word.step is not None), said[0] if said else Report())


def newest_checkpoint(job: TrainingJob, gang: Gang) -> CheckpointStatus | None:
    """Return the newest checkpoint that any worker reported or the status already knows, with the damaged ones."""
    words = [report(pod) for pod in gang.present.values()]
    known = [job.status.checkpoint, *map(checkpoint, words)]
    found = [point for point in known if point is not None and point.latest_step is not None]
    newest = max(found, key=lambda point: point.latest_step or 0, default=job.status.checkpoint)
    if newest is not None and job.status.checkpoint is not None:
        newest = msgspec.structs.replace(newest, quarantined=job.status.checkpoint.quarantined)
    for word in words:
        newest = quarantined(word, newest)
    return newest


def headway(job: TrainingJob, gang: Gang, live: Live | None) -> Headway:
    """Return how far the present attempt came, from the last words and the newest report.

    The status may have taken the attempt's checkpoints over while it ran, so they are compared with where it began. One
    that was committed just before the failure before, and not told by then, shows in that this attempt began from it.
    """
    began = (job.status.restarts or Restarts()).checkpoint_step
    words = [report(pod) for pod in gang.present.values()]
    told = [*words, *([live.report] if live is not None else [])]
    resumed = next((word.resumed_from_step for word in told if word.resumed_from_step is not None), began)
    known = job.status.checkpoint.latest_step if job.status.checkpoint is not None else None
    steps = [word.checkpoint.step for word in told if word.checkpoint is not None]
    if known is not None and known != began:
        steps.append(known)
    if began is not None and resumed is not None and resumed > began:
        steps.append(resumed)
        resumed = began
    step = last_word(gang).step
    if step is None and live is not None:
        step = live.report.step
    return Headway(
        progressed=any(resumed is None or each > resumed for each in steps),
        step=step,
        checkpoint_step=max((*steps, *([began] if began is not None else [])), default=None),
    )
