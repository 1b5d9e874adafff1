"""A job as one watch has seen it so far: what is true now, and the figures of the steps since the watch began."""

from collections.abc import Mapping
from datetime import datetime

from ganger.api.observed import Pod
from ganger.api.types import TrainingJob
from ganger.cli.seen import Event, Seen
from ganger.cli.series import Series


class View:
    """What the screen of one job shows. A source changes it, a screen reads it."""

    def __init__(self) -> None:
        self.job: TrainingJob | None = None
        self.pods: Mapping[str, Pod] = {}
        self.events: Mapping[str, Event] = {}
        self.loss = Series()
        self.rate = Series()
        self._last: tuple[int, datetime | None] | None = None

    def take(self, job: TrainingJob) -> None:
        """Take the job as it is now, and its figures where they are new."""
        self.job = job
        progress = job.status.progress
        if progress is None or progress.step is None or (progress.step, progress.updated_time) == self._last:
            return
        self._last = (progress.step, progress.updated_time)
        if progress.loss is not None:
            self.loss.add(progress.step, _number(progress.loss))
        if progress.samples_per_second is not None:
            self.rate.add(progress.step, progress.samples_per_second)

    def seen(self, now: datetime) -> Seen:
        """Return the facts for a page or a hint. There must be a job."""
        assert self.job is not None
        mine = {self.job.metadata.uid, ""}
        events = tuple(event for event in self.events.values() if event.involved_object.uid in mine)
        return Seen(job=self.job, pods=tuple(self.pods.values()), events=events, now=now)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
