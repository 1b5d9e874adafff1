"""The work on one shard while it is led: its queue, its workers, and what they remember. A new one for each term."""

import asyncio
import logging
from collections.abc import Callable

from ganger.app.caches import Caches, Key
from ganger.app.inquiries import Inquiries
from ganger.app.reconcile import Reconciler
from ganger.observe.metrics import OperatorMetrics
from ganger.plan.progress import WRITE_SECONDS
from ganger.runtime.consistency import Consistency
from ganger.runtime.controller import Controller
from ganger.runtime.ports import Clock
from ganger.runtime.queue import Queue

log = logging.getLogger(__name__)


class Duty:
    """Passes over the jobs of one shard. mine: whether a job is of it."""

    def __init__(
        self,
        caches: Caches,
        reconciler: Reconciler,
        inquiries: Inquiries | None,
        consistency: Consistency[Key],
        clock: Clock,
        metrics: OperatorMetrics,
        *,
        mine: Callable[[Key], bool],
        workers: int,
    ) -> None:
        self._caches = caches
        self._inquiries = inquiries
        self._clock = clock
        self._mine = mine
        self._queue: Queue[Key] = Queue(metrics=metrics)
        self._controller = Controller(
            self._queue,
            reconciler.sync,
            ready=consistency.ready,
            workers=workers,
            on_error=reconciler.report,
            metrics=metrics,
        )

    def add(self, key: Key) -> None:
        """Ask for a pass over a job of the shard."""
        self._queue.add(key)

    def heard(self, key: Key) -> None:
        """Ask for a pass when what a worker said may be written; the pass itself decides whether it is news."""
        job = self._caches.jobs.get(*key)
        if job is None:
            return
        updated = job.status.progress.updated_time if job.status.progress is not None else None
        age = (self._clock.now() - updated).total_seconds() if updated is not None else WRITE_SECONDS
        self._queue.add(key, after=max(0.0, min(WRITE_SECONDS, WRITE_SECONDS - age)))

    async def run(self, stopping: asyncio.Event) -> None:
        """Look at every job of the shard, and at what changes, until `stopping` is set; the running passes end."""
        known = [job.key for job in self._caches.jobs.all() if self._mine(job.key)]
        strange = [(each.metadata.namespace, each.metadata.name) for each in self._caches.jobs.all_undecodable()]
        for key in known + [key for key in strange if self._mine(key)]:
            self._queue.add(key)
        log.info("leading over %d jobs", len(known))
        await self._controller.run(stopping)

    def close(self) -> None:
        """End what is under way beside the passes."""
        if self._inquiries is not None:
            self._inquiries.close()
