"""One operator process: warm caches from the start, work only while it leads, a graceful end.

A standby watches everything and the lease, so that a hand-over costs one write. This is the only wiring.
"""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from ganger.api.types import TrainingJob
from ganger.app.caches import Caches, Key
from ganger.app.channel import Channel
from ganger.app.duplicates import Duplicates
from ganger.app.execute import Executor
from ganger.app.inquiries import Inquiries
from ganger.app.observing import Observing
from ganger.app.podgroups import PodGroups
from ganger.app.queues import Queues
from ganger.app.reconcile import Reconciler
from ganger.app.sessions import Sessions
from ganger.app.settings import Settings
from ganger.contract import LABEL_JOB, OPERATOR_LEASE
from ganger.kube.cluster import Cluster
from ganger.kube.gate import WriteGate
from ganger.kube.nodes import NodeReader
from ganger.kube.resources import TRAINING_JOBS, Resource
from ganger.observe.metrics import OperatorMetrics
from ganger.plan.progress import WRITE_SECONDS
from ganger.plan.quota import queue
from ganger.plan.site import Site
from ganger.runtime.clock import ServerClock
from ganger.runtime.consistency import Consistency
from ganger.runtime.controller import Controller
from ganger.runtime.events import Recorder
from ganger.runtime.lease import Election, LeadershipLost
from ganger.runtime.limiter import Limiter
from ganger.runtime.ports import Clock
from ganger.runtime.queue import Queue
from ganger.runtime.reflector import Reflector, Timing

log = logging.getLogger(__name__)
DRAIN_SECONDS = 1.0  # for the last events, before the lease is given back


class Process:
    """Everything that lives as long as the process. clock: the API server's time by the machine's clocks if None."""

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        gate: WriteGate,
        metrics: OperatorMetrics,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self.clock: Clock = clock or ServerClock(cluster.server_offset_seconds)
        self.caches = Caches(settings.namespace, isolates=settings.isolate_jobs)
        timing = Timing(read_timeout=float(settings.watch_silence_seconds))
        self._reflectors = self.caches.reflectors(cluster, settings.watch_namespaces, metrics, timing)
        self._pod_groups: PodGroups | None = None
        if settings.pod_groups:
            self._pod_groups = PodGroups(cluster, self.caches.pod_groups, settings.watch_namespaces, metrics, timing)
        # Unique for each start: a restarted process must not take its own old lease for a held one.
        identity = f"{settings.identity}_{secrets.token_hex(4)}"
        self.election = Election(
            cluster,
            namespace=settings.namespace,
            name=OPERATOR_LEASE,
            identity=identity,
            clock=self.clock,
            metrics=metrics,
            returned=self._hurry,
        )
        gate.fence = self.election.is_held
        self._consistency: Consistency[Key] = Consistency(
            self.caches.by_resource, monotonic=self.clock.monotonic, relist=self._relist, metrics=metrics
        )
        self._recorder = Recorder(cluster, instance=settings.identity, clock=self.clock, metrics=metrics)
        limiter: Limiter[Key] = Limiter(metrics=metrics)
        duplicates = Duplicates(lambda: self.election.taken_version, self._duplicate)
        self._executor = Executor(cluster, self._consistency, limiter, self._recorder, self.clock.monotonic, duplicates)
        self.channel = Channel(
            settings,
            cluster,
            self.caches,
            self.clock,
            metrics,
            leads=lambda: self._queue is not None and self.election.is_held(),
            heard=self._heard,
            urgent=self._enqueue,
            session=lambda namespace, name: self._sessions.cache.get(namespace, name),
            session_heard=lambda key: self._sessions.heard(key),
        )
        self._inquiries: Inquiries | None = None
        if settings.read_nodes:
            self._inquiries = Inquiries(NodeReader(cluster, self.clock.monotonic), self._enqueue, self.clock.monotonic)
        self._queues = Queues(
            cluster,
            self.caches.jobs,
            LABEL_JOB,
            settings.watch_namespaces,
            self._consistency,
            queue_of=queue,
            enqueue=self._enqueue,
            metrics=metrics,
            timing=timing,
        )
        self._reconciler = Reconciler(
            self.caches,
            self._executor,
            self._recorder,
            self.clock,
            settings.default_image,
            self._forget,
            site=self._site,
            reports=self.channel.reports,
            inquiries=self._inquiries,
            queues=self._queues,
        )
        self._sessions = Sessions(
            cluster,
            self.caches,
            settings,
            self._recorder,
            self.clock,
            metrics,
            channel=self.channel,
            relist=self._relist,
            timing=timing,
        )
        self.observing = Observing(self.caches, self.channel.reports, metrics, self.clock)
        self._queue: Queue[Key] | None = None
        self.caches.on_change(self._enqueue)

    # --- health ---
    @property
    def is_alive(self) -> bool:
        """Whether every loop still turns. An API server that is down does not count."""
        return not any(reflector.is_stalled for reflector in self._all_reflectors())

    @property
    def trouble(self) -> str:
        """Why this process is not ready, or "" when it is: caches warm, watches open, the API server answering."""
        reflectors = (*self._reflectors, self.election.reflector)
        return next((reflector.trouble for reflector in reflectors if reflector.trouble), "")

    # --- life ---
    async def run(self, stop: asyncio.Event) -> None:
        """Reflect, stand by, lead, until `stop` is set; the lease is given back in the end.

        Raises LeadershipLost where another process leads before this one was asked to stop.
        """
        lost: LeadershipLost | None = None
        async with asyncio.TaskGroup() as tasks:
            loops = [tasks.create_task(reflector.run()) for reflector in self._reflectors]
            if self._pod_groups is not None:
                loops.append(tasks.create_task(self._pod_groups.run()))
            loops.append(tasks.create_task(self._recorder.run()))
            loops.append(tasks.create_task(self.observing.lag()))
            loops.append(tasks.create_task(self._queues.run()))
            loops.append(tasks.create_task(self._sessions.run()))
            if self._settings.serves_tls:
                loops.append(tasks.create_task(self.channel.run()))
            try:
                await self.election.run(self._lead, stop=stop)
            except LeadershipLost as error:
                lost = error
            for loop in loops:
                loop.cancel()
        if lost is not None:
            raise lost  # by itself, not in the group's wrapping

    async def _lead(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, and let the running passes end; cancelled when the lease is lost."""
        for reflector in self._reflectors:
            await reflector.wait_synced()
        if self._pod_groups is not None:
            await self._pod_groups.wait_synced()
        duties = [asyncio.create_task(self.observing.lead(), name="observing")]
        try:
            duties += await self.channel.lead()
            self._queue = Queue(metrics=self._metrics)
            controller = Controller(
                self._queue,
                self._reconciler.sync,
                ready=self._consistency.ready,
                workers=self._settings.sync_workers,
                on_error=self._reconciler.report,
                metrics=self._metrics,
            )
            for job in self.caches.jobs.all():
                self._queue.add(job.key)
            for strange in self.caches.jobs.all_undecodable():
                self._queue.add((strange.metadata.namespace, strange.metadata.name))
            duties.append(asyncio.create_task(self._sessions.lead(stopping), name="sessions"))
            log.info("leading over %d jobs", len(self.caches.jobs))
            await controller.run(stopping)
            await self._recorder.drain(within=DRAIN_SECONDS)
        finally:
            self._queue = None
            if self._inquiries is not None:
                self._inquiries.close()
            for duty in duties:
                duty.cancel()
            await asyncio.wait(duties)

    def _all_reflectors(self) -> Sequence[Reflector[Any]]:
        groups = self._pod_groups.reflectors if self._pod_groups is not None else ()
        return (*self._reflectors, *groups, *self._sessions.reflectors)

    def _site(self) -> Site:
        version = self._pod_groups.version if self._pod_groups is not None else ""
        told = self._settings
        return msgspec.structs.replace(
            self.channel.site,
            pod_groups=version,
            priority_boost=told.priority_boost,
            isolates=told.isolate_jobs,
            image=told.default_image,
        )

    def _enqueue(self, key: Key) -> None:
        if self._queue is not None:
            self._queue.add(key)

    def _heard(self, key: Key) -> None:
        """Ask for a pass when what a worker said may be written; the pass itself decides whether it is news."""
        job = self.caches.jobs.get(*key)
        if self._queue is None or job is None:
            return
        updated = job.status.progress.updated_time if job.status.progress is not None else None
        age = (self.clock.now() - updated).total_seconds() if updated is not None else WRITE_SECONDS
        self._queue.add(key, after=max(0.0, min(WRITE_SECONDS, WRITE_SECONDS - age)))

    def _forget(self, key: Key) -> None:
        self._consistency.forget(key)
        self._executor.forget(key)
        self._queues.forget(key)
        self.channel.reports.forget(key)

    def _duplicate(self, job: TrainingJob) -> None:
        self._metrics.duplicate_seen()
        message = (
            "another controller writes the status of this job while this one leads; is the operator installed twice? "
            f"kubectl get leases -A | grep {OPERATOR_LEASE}"
        )
        log.warning("%s: %s", "/".join(job.key), message)
        self._recorder.record(TRAINING_JOBS, job.metadata, "Warning", "DuplicateController", message)

    def _hurry(self) -> None:
        for reflector in self._all_reflectors():
            reflector.hurry()
        if self._pod_groups is not None:
            self._pod_groups.look()  # it may be another version of the server
        self._queues.hurry()
        self._sessions.hurry()

    def _relist(self, resource: Resource, namespace: str) -> None:
        for reflector in self._all_reflectors():
            if reflector.resource == resource and reflector.namespace in ("", namespace):
                reflector.relist()
        self._queues.relist(resource, namespace)
