"""Dev sessions beside the jobs: a cache, a queue and workers of their own, so that neither slows the other.

The kind is looked for by discovery: an operator that is newer than the definitions goes on serving jobs, and serves
sessions as soon as their definition is there.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from ganger.api.session import DevSession
from ganger.app.caches import Caches, Key
from ganger.app.channel import Channel
from ganger.app.offered import Offered
from ganger.app.queues import Queues
from ganger.app.sessionexecute import SessionExecutor
from ganger.app.sessionpass import SessionReconciler
from ganger.app.settings import Settings
from ganger.contract import LABEL_SESSION
from ganger.kube.cluster import Cluster
from ganger.kube.resources import CLAIMS, DEV_SESSIONS, NETWORK_POLICIES, PODS, WORKLOADS, Resource
from ganger.observe.metrics import OperatorMetrics
from ganger.plan import sessionqueue
from ganger.plan.session import SessionSite
from ganger.runtime.cache import Cache
from ganger.runtime.consistency import Consistency
from ganger.runtime.controller import Controller
from ganger.runtime.events import Recorder
from ganger.runtime.limiter import Limiter
from ganger.runtime.ports import Clock
from ganger.runtime.queue import Queue
from ganger.runtime.reflector import Reflector, Timing

LOOK_SECONDS = 10.0  # how often the definition is looked for while it is not there
WORKERS = 2
WRITES = 4  # of all sessions at once


class Sessions:
    """Reflects and serves the sessions of the watched namespaces.

    channel: where they report, None for nowhere. relist: asked for lists of the shared caches.
    """

    def __init__(
        self,
        cluster: Cluster,
        caches: Caches,
        settings: Settings,
        recorder: Recorder,
        clock: Clock,
        metrics: OperatorMetrics,
        *,
        channel: Channel | None = None,
        relist: Callable[[Resource, str], None],
        timing: Timing | None = None,
    ) -> None:
        self.cache: Cache[DevSession] = Cache()
        self._offered = Offered(
            cluster,
            (DEV_SESSIONS,),
            DevSession,
            self.cache,
            settings.watch_namespaces,
            metrics,
            timing,
            look_seconds=LOOK_SECONDS,
        )
        self._caches = caches
        self._metrics = metrics
        self._phases: dict[Key, str] = {}
        self._counts: Counter[tuple[str, str]] = Counter()  # by namespace and phase
        self._relist_shared = relist
        self._queue: Queue[Key] | None = None
        self._consistency: Consistency[Key] = Consistency(
            {
                DEV_SESSIONS: self.cache,
                PODS: caches.pods,
                CLAIMS: caches.claims,
                NETWORK_POLICIES: caches.policies,
            },
            monotonic=clock.monotonic,
            relist=self._relist,
        )
        self._queues = Queues(
            cluster,
            self.cache,
            LABEL_SESSION,
            settings.watch_namespaces,
            self._consistency,
            queue_of=self._queue_of,
            enqueue=self._enqueue,
            metrics=metrics,
            timing=timing,
        )
        executor = SessionExecutor(cluster, self._consistency, Limiter(WRITES), recorder, clock)
        site = SessionSite(image=settings.session_image, isolates=settings.isolate_jobs)
        self._reconciler = SessionReconciler(self.cache, caches, executor, recorder, clock, site, self._queues, channel)
        self._channel = channel
        self.cache.on_change(self._changed)
        caches.jobs.on_change(self._job_changed)
        for cache in (caches.pods, caches.claims, caches.policies):
            cache.on_change(self._child_changed)

    @property
    def reflectors(self) -> list[Reflector[DevSession]]:
        """Those that keep the cache."""
        return self._offered.reflectors

    def hurry(self) -> None:
        """Look again at once at a server that was away."""
        self._offered.look()
        self._queues.hurry()

    def heard(self, key: Key) -> None:
        """Ask for a pass: the session told of its activity; the pass itself decides whether it is news."""
        self._enqueue(key)

    async def run(self) -> None:
        """Reflect the sessions and their Workloads, where they are served, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._offered.run())
            tasks.create_task(self._queues.run())

    async def lead(self, stopping: asyncio.Event) -> None:
        """Work on the sessions until `stopping` is set or this is cancelled."""
        self._queue = Queue()
        controller = Controller(
            self._queue,
            self._reconciler.sync,
            ready=self._consistency.ready,
            workers=WORKERS,
            on_error=self._reconciler.report,
        )
        for session in self.cache.all():
            self._queue.add(session.key)
            self._count(session.key, session)
        for strange in self.cache.all_undecodable():
            self._queue.add((strange.metadata.namespace, strange.metadata.name))
        try:
            await controller.run(stopping)
        finally:
            self._queue = None
            for key in list(self._phases):
                self._count(key, None)  # the next leader shows them

    def _relist(self, resource: Resource, namespace: str) -> None:
        if resource == WORKLOADS:
            self._queues.relist(resource, namespace)
        elif resource == DEV_SESSIONS:
            self._offered.relist(namespace)
        else:
            self._relist_shared(resource, namespace)

    def _queue_of(self, session: DevSession) -> str:
        job = self._caches.jobs.get(session.metadata.namespace, session.spec.from_job or "")
        return sessionqueue.name(session, job)

    # --- what asks for a pass ---
    def _enqueue(self, key: Key) -> None:
        if self._queue is not None:
            self._queue.add(key)

    def _changed(self, old: Any, new: Any) -> None:
        meta = (new if new is not None else old).metadata
        if new is None:
            self._consistency.forget((meta.namespace, meta.name))
            if self._channel is not None:
                self._channel.sessions.forget((meta.namespace, meta.name))
        self._enqueue((meta.namespace, meta.name))
        if self._queue is not None:
            self._count((meta.namespace, meta.name), new)

    def _count(self, key: Key, session: Any) -> None:
        """Show the session in the phase that it has now. One that is new counts as Pending."""
        before = self._phases.pop(key, None)
        now = (session.status.phase or "Pending") if isinstance(session, DevSession) else None
        if before == now and now is not None:
            self._phases[key] = now
            return
        for phase, change in ((before, -1), (now, +1)):
            if phase is not None:
                self._counts[key[0], phase] += change
                self._metrics.sessions(key[0], phase, self._counts[key[0], phase])
        if now is not None:
            self._phases[key] = now

    def _child_changed(self, old: Any, new: Any) -> None:
        # By label, not by owner: a session also waits for the end of a predecessor's objects.
        meta = (new if new is not None else old).metadata
        name = meta.labels.get(LABEL_SESSION)
        if name:
            self._enqueue((meta.namespace, name))

    def _job_changed(self, old: Any, new: Any) -> None:
        meta = (new if new is not None else old).metadata
        for key in self._reconciler.waiting_for(meta.namespace, meta.name):
            self._enqueue(key)
