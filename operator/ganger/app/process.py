"""One operator process: warm caches from the start, work only on what it leads, a graceful end.

A standby watches everything and the leases, so that a hand-over costs one write. This is the only wiring.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ganger.api.types import TrainingJob
from ganger.app.caches import Caches, Key
from ganger.app.channel import Channel
from ganger.app.duplicates import Duplicates
from ganger.app.duty import Duty
from ganger.app.execute import Executor
from ganger.app.inquiries import Inquiries
from ganger.app.observing import Observing
from ganger.app.podgroups import PodGroups
from ganger.app.queues import Queues
from ganger.app.reconcile import Reconciler
from ganger.app.sessions import Sessions
from ganger.app.settings import Settings
from ganger.app.shards import Shards
from ganger.contract import LABEL_JOB, OPERATOR_LEASE
from ganger.kube.cluster import Cluster
from ganger.kube.gate import FENCE, WriteGate
from ganger.kube.nodes import NodeReader
from ganger.kube.resources import TRAINING_JOBS, Resource
from ganger.observe.metrics import OperatorMetrics
from ganger.plan.quota import queue
from ganger.plan.site import Site
from ganger.runtime.clock import ServerClock
from ganger.runtime.consistency import Consistency
from ganger.runtime.events import Recorder
from ganger.runtime.lease import Election, LeadershipLost
from ganger.runtime.limiter import Limiter
from ganger.runtime.ports import Clock
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
        self._cluster = cluster
        self._metrics = metrics
        self.clock: Clock = clock or ServerClock(cluster.server_offset_seconds)
        self.caches = Caches(settings.namespace, isolates=settings.isolate_jobs)
        timing = Timing(read_timeout=float(settings.watch_silence_seconds))
        self._reflectors = self.caches.reflectors(cluster, settings.watch_namespaces, metrics, timing)
        self._duties: dict[int, Duty] = {}  # of the shards that are led
        self._pod_groups: PodGroups | None = None
        if settings.pod_groups:
            self._pod_groups = PodGroups(cluster, self.caches.pod_groups, settings.watch_namespaces, metrics, timing)
        # Unique for each start: a restarted process must not take its own old lease for a held one.
        identity = f"{settings.identity}_{secrets.token_hex(4)}"
        self.shards = Shards(
            cluster,
            namespace=settings.namespace,
            identity=identity,
            count=settings.shards,
            address=settings.control_address,
            clock=self.clock,
            metrics=metrics,
            ready=lambda: not self.trouble,
            moved=lambda: self.channel.moved(),
            returned=self._hurry,
        )
        gate.fence = self.shards.holds_any
        self._consistency: Consistency[Key] = Consistency(
            self.caches.by_resource, monotonic=self.clock.monotonic, relist=self._relist, metrics=metrics
        )
        self._recorder = Recorder(cluster, instance=settings.identity, clock=self.clock, metrics=metrics)
        self._limiter: Limiter[Key] = Limiter(metrics=metrics)
        self.channel = Channel(
            settings,
            cluster,
            self.caches,
            self.clock,
            metrics,
            leads=self._hears,
            elsewhere=self._elsewhere,
            addresses=self.shards.addresses,
            heard=self._heard,
            urgent=self._enqueue,
            session=lambda namespace, name: self._sessions.cache.get(namespace, name),
            session_heard=lambda key: self._sessions.heard(key),
            sessions_elsewhere=lambda: self._leader(0),
        )
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
        self.caches.on_change(self._enqueue)

    @property
    def election(self) -> Election:
        """The election for the first shard; there is no other unless the settings say so."""
        return self.shards.elections[0]

    # --- health ---
    @property
    def is_alive(self) -> bool:
        """Whether every loop still turns. An API server that is down does not count."""
        return not any(reflector.is_stalled for reflector in self._all_reflectors())

    @property
    def trouble(self) -> str:
        """Why this process is not ready, or "" when it is: caches warm, watches open, the API server answering."""
        reflectors = (*self._reflectors, *(election.reflector for election in self.shards.elections))
        return next((reflector.trouble for reflector in reflectors if reflector.trouble), "")

    # --- life ---
    async def run(self, stop: asyncio.Event) -> None:
        """Reflect, stand by, lead, until `stop` is set; the leases are given back in the end.

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
                await self.shards.run(self._lead, stop=stop)
            except LeadershipLost as error:
                lost = error
            for loop in loops:
                loop.cancel()
        if lost is not None:
            raise lost  # by itself, not in the group's wrapping

    async def _lead(self, shard: int, stopping: asyncio.Event) -> None:
        """Work on a shard until `stopping` is set, and let the running passes end; cancelled when its lease is lost."""
        election = self.shards.elections[shard]
        FENCE.set(election.is_held)  # of this task, which is the shard's own, and of all that it starts
        if not await self.shards.may_begin(shard, stopping):
            return

        def mine(key: Key) -> bool:
            return self.shards.of(key) == shard

        for reflector in self._reflectors:
            await reflector.wait_synced()
        if self._pod_groups is not None:
            await self._pod_groups.wait_synced()
        beside = [asyncio.create_task(self.observing.lead(mine), name="observing")]
        duty = self._duty(shard, mine)
        try:
            await self.channel.lead(mine)
            self._duties[shard] = duty
            if shard == 0:  # with it goes what belongs to no job
                beside.append(asyncio.create_task(self.channel.publish(), name="control-address"))
                self.channel.sessions.clear()  # another process led meanwhile, and heard what came
                beside.append(asyncio.create_task(self._sessions.lead(stopping), name="sessions"))
            await duty.run(stopping)
            await self._recorder.drain(within=DRAIN_SECONDS)
        finally:
            self._duties.pop(shard, None)
            duty.close()
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)

    def _duty(self, shard: int, mine: Callable[[Key], bool]) -> Duty:
        """Return the work on a shard, which remembers nothing of a term before."""
        election, monotonic = self.shards.elections[shard], self.clock.monotonic
        duplicates = Duplicates(lambda: election.taken_version, self._duplicate)
        executor = Executor(self._cluster, self._consistency, self._limiter, self._recorder, monotonic, duplicates)
        inquiries: Inquiries | None = None
        if self._settings.read_nodes:
            inquiries = Inquiries(NodeReader(self._cluster, monotonic), self._enqueue, monotonic)

        def forget(key: Key) -> None:
            self._consistency.forget(key)
            executor.forget(key)
            self._queues.forget(key)
            self.channel.reports.forget(key)

        reconciler = Reconciler(
            self.caches,
            executor,
            self._recorder,
            self.clock,
            self._settings.default_image,
            forget,
            site=self._site,
            reports=self.channel.reports,
            inquiries=inquiries,
            queues=self._queues,
        )
        return Duty(
            self.caches,
            reconciler,
            inquiries,
            self._consistency,
            self.clock,
            self._metrics.of_shard(shard),
            mine=mine,
            workers=self._settings.sync_workers,
        )

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
        if duty := self._duties.get(self.shards.of(key)):
            duty.add(key)

    def _heard(self, key: Key) -> None:
        if duty := self._duties.get(self.shards.of(key)):
            duty.heard(key)

    def _hears(self) -> bool:
        """Whether reports are taken in or, where there are several shards, handed on by what the caches know."""
        if self._settings.shards > 1:
            return all(reflector.has_synced for reflector in self._reflectors)
        return bool(self._duties) and self.election.is_held()

    def _elsewhere(self, key: Key) -> str | None:
        return self._leader(self.shards.of(key))

    def _leader(self, shard: int) -> str | None:
        """Return where those who belong to the shard are heard, "" for here, None while nobody is known to lead it."""
        if shard in self._duties and self.shards.elections[shard].is_held():
            return ""
        return self.shards.peer(shard) or None

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
