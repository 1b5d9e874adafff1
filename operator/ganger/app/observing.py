"""Shows every job in the metrics of the process that leads it, and counts what happens to them.

A job is shown anew when it changes, and all of them every 15 s, a usual scrape interval, since time passes for a job
that only waits. In slices, so that no pass has to wait.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from ganger.api.status import Goodput, TrainingJobStatus
from ganger.api.types import TrainingJob
from ganger.app.caches import Caches, Key
from ganger.control.reports import Reports
from ganger.observe.jobs import JobFigures, JobSeries, WorkerRow
from ganger.observe.metrics import OperatorMetrics
from ganger.plan import elastic, ledger, lifecycle
from ganger.plan.environment import device_count
from ganger.plan.gang import Gang, gang
from ganger.plan.live import Live
from ganger.plan.track import Track
from ganger.runtime.ports import Clock

log = logging.getLogger(__name__)
REFRESH_SECONDS = 15.0
SLICE_JOBS = 20  # between two breaths of the event loop: about 3 ms
LAG_EVERY_SECONDS = 1.0
LAG_TIMER_SECONDS = 0.1


class Observing:
    """Follows those jobs of the cache that this process leads. `series` is what it shows."""

    def __init__(self, caches: Caches, reports: Reports, metrics: OperatorMetrics, clock: Clock) -> None:
        self.series = JobSeries()
        self._caches = caches
        self._reports = reports
        self._metrics = metrics
        self._clock = clock
        self._led: list[Callable[[Key], bool]] = []  # for each shard that is led, whether a job is of it
        self._counted: dict[Key, tuple[str, dict[str, float]]] = {}  # UID and seconds that are in the counters
        caches.jobs.on_change(self._changed)

    async def lead(self, mine: Callable[[Key], bool] = lambda key: True) -> None:
        """Show the jobs that are `mine` until cancelled, and none of them afterwards: the next leader shows them."""
        self._led.append(mine)
        try:
            for job in self._caches.jobs.all():
                if mine(job.key):
                    self._counted[job.key] = (job.metadata.uid, _gross(job.status.goodput))
            await self._refresh(mine, every=True)
            while True:
                await asyncio.sleep(REFRESH_SECONDS)
                await self._refresh(mine, every=False)
        finally:
            self._led.remove(mine)
            for key in [job.key for job in self._caches.jobs.all() if mine(job.key)]:
                self._counted.pop(key, None)
                self.series.forget(key)

    async def lag(self) -> None:
        """Measure how late the event loop is, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_TIMER_SECONDS
            await asyncio.sleep(LAG_TIMER_SECONDS)
            self._metrics.loop_lagged(max(0.0, loop.time() - due))
            await asyncio.sleep(LAG_EVERY_SECONDS - LAG_TIMER_SECONDS)

    async def _refresh(self, mine: Callable[[Key], bool], *, every: bool) -> None:
        """Show every job of a shard anew, or those for which time still passes."""
        for number, key in enumerate([job.key for job in self._caches.jobs.all() if mine(job.key)], start=1):
            job = self._caches.jobs.get(*key)  # it may have changed or gone meanwhile
            if job is not None and (every or not job.status.finished):
                self._safely_show(job)
            if number % SLICE_JOBS == 0:
                await asyncio.sleep(0)

    def _changed(self, old: Any, new: Any) -> None:
        if not self._led:
            return
        if not isinstance(new, TrainingJob):
            if old is not None:
                key = (old.metadata.namespace, old.metadata.name)
                self.series.forget(key)
                self._counted.pop(key, None)
            return
        if not any(mine(new.key) for mine in self._led):
            return
        if isinstance(old, TrainingJob) and old.metadata.uid == new.metadata.uid:
            self._count(new, old.status, new.status)
        self._safely_show(new)

    def _safely_show(self, job: TrainingJob) -> None:
        """A figure that cannot be shown must stop neither the watch that called nor the other jobs' figures."""
        try:
            self._show(job)
        except Exception:
            log.exception("showing %s/%s in the metrics failed", *job.key)

    def _show(self, job: TrainingJob) -> None:
        live = self._reports.live(job.key, job.metadata.uid, job.status.attempt)
        members = gang(self._caches.pods.by_owner(job.metadata.uid), job.status.attempt, elastic.size(job))
        goodput = ledger.account(job, members, live, self._clock.now())
        self._count_seconds(job, goodput)
        shown = msgspec.structs.replace(job, status=msgspec.structs.replace(job.status, goodput=goodput))
        track = self._reports.track(job.key, job.metadata.uid, job.status.attempt)
        self.series.update(shown, _figures(job, members, live, track))

    def _count(self, job: TrainingJob, old: TrainingJobStatus, new: TrainingJobStatus) -> None:
        namespace = job.metadata.namespace
        if new.finished and not old.finished:
            result = lifecycle.FAILED if new.is_true(lifecycle.FAILED) else lifecycle.COMPLETE
            condition = new.condition(result)
            self._metrics.job_finished(namespace, result, condition.reason if condition is not None else "")
        before, after = old.restarts, new.restarts
        if after is not None and after.total > (before.total if before is not None else 0):
            counted = after.counted > (before.counted if before is not None else 0)
            reason = after.last.reason if after.last is not None else ""
            self._metrics.job_restarted(namespace, reason, counted)
        moved, known = new.resizes, old.resizes.total if old.resizes is not None else 0
        if moved is not None and moved.last is not None and moved.total > known:
            self._metrics.job_resized(namespace, "up" if moved.last.to_workers > moved.last.from_workers else "down")
        if new.is_true(lifecycle.RUNNING) and not old.is_true(lifecycle.RUNNING):
            waited = _waited_seconds(job, old, new)
            if waited is not None:
                self._metrics.job_waited(waited)

    def _count_seconds(self, job: TrainingJob, goodput: Goodput) -> None:
        now = _gross(goodput)
        uid, before = self._counted.get(job.key, ("", {}))
        if uid != job.metadata.uid:
            before = {}
        for cause, seconds in now.items():
            more = seconds - before.get(cause, 0.0)
            if more > 0:
                self._metrics.job_seconds(job.metadata.namespace, cause, more)
        # A status that is older than what was shown takes nothing back, and is not counted twice.
        most = {cause: max(seconds, before.get(cause, 0.0)) for cause, seconds in now.items()}
        self._counted[job.key] = (job.metadata.uid, most)


def _gross(goodput: Goodput | None) -> dict[str, float]:
    """Return the seconds by cause as counters take them: what was lost has been productive when it passed."""
    if goodput is None or goodput.seconds is None:
        return {}
    parts: dict[str, float] = msgspec.structs.asdict(goodput.seconds)
    parts["productive"] += parts["lost"]
    return parts


def _waited_seconds(job: TrainingJob, old: TrainingJobStatus, new: TrainingJobStatus) -> float | None:
    """Return the time from creation or resume until all workers run, None after a restart of the gang."""
    running = old.condition(lifecycle.RUNNING)
    if running is not None and running.reason != "Suspended":
        return None
    resumed, now = new.condition(lifecycle.SUSPENDED), new.condition(lifecycle.RUNNING)
    since = resumed.last_transition_time if resumed is not None else job.metadata.creation_timestamp
    if since is None or now is None or now.last_transition_time is None:
        return None
    return max(0.0, (now.last_transition_time - since).total_seconds())


def _figures(job: TrainingJob, members: Gang, live: Live | None, track: Track) -> JobFigures:
    gpus = device_count(job.spec) * job.spec.workers
    rows = (
        WorkerRow(pod=pod.metadata.name, worker=worker, node=pod.spec.node_name)
        for worker, pod in members.present.items()
    )
    return JobFigures(
        gpus=gpus,
        last_step_time=live.step_at if live is not None else None,
        step_seconds=live.eta.step_seconds if live is not None and live.eta is not None else None,
        checkpoint_failures=live.report.checkpoint_failures if live is not None else None,
        workers=tuple(rows) if gpus else (),
        stragglers=tuple((each.rank, each.score) for each in track.slow),
    )
