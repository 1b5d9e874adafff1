"""One pass over one session: see, decide, execute."""

from typing import TypeVar

import msgspec

from ganger.api.observed import Claim, Metadata, NetworkPolicy, Pod
from ganger.api.session import DevSession
from ganger.api.types import TrainingJob, profiled
from ganger.app.caches import Caches, Key
from ganger.app.channel import Channel
from ganger.app.memory import JobMemory
from ganger.app.queues import Queues
from ganger.app.sessionexecute import SessionExecutor
from ganger.kube.errors import ApiError
from ganger.kube.resources import CLAIMS, DEV_SESSIONS, NETWORK_POLICIES
from ganger.observe.logs import about
from ganger.plan import profile, sessionname, sessionqueue
from ganger.plan.quota import Quota
from ganger.plan.session import SessionSeen, SessionSite, decide_session
from ganger.plan.sessionactivity import SessionReport
from ganger.runtime.cache import Cache
from ganger.runtime.events import Recorder
from ganger.runtime.ports import Clock

T = TypeVar("T", Claim, NetworkPolicy)


class SessionReconciler:
    """`sync` is what the runtime calls with a key; it returns the seconds until the session wants another look."""

    def __init__(
        self,
        sessions: Cache[DevSession],
        caches: Caches,
        executor: SessionExecutor,
        recorder: Recorder,
        clock: Clock,
        site: SessionSite,
        queues: Queues[DevSession],
        channel: Channel | None = None,
    ) -> None:
        self._sessions = sessions
        self._caches = caches
        self._executor = executor
        self._recorder = recorder
        self._clock = clock
        self._site = site
        self._queues = queues
        self._channel = channel
        self._memories: dict[Key, tuple[str, JobMemory]] = {}
        self._waiting: dict[Key, set[Key]] = {}  # sessions that have not started, by the job that they fork

    def waiting_for(self, namespace: str, job: str) -> tuple[Key, ...]:
        """Return the sessions that look at every change of a job."""
        return tuple(self._waiting.get((namespace, job), ()))

    async def sync(self, key: Key) -> float | None:
        """Bring one session one step nearer to what it should be. Raises ApiError; the runtime retries by its class."""
        session = self._sessions.get(*key)
        self._waits_no_more(key)
        if session is None:
            self._report_undecodable(key)
            self._memories.pop(key, None)
            self._executor.forget(key)
            self._queues.forget(key)
            return None
        with about(namespace=key[0], session=key[1], uid=session.metadata.uid):
            memory = self._memory(session)
            source, trouble = self._source(session)
            whole = sessionqueue.whole(session, source, self._site.image)
            quota = await self._queues.seen(whole)
            if self._sessions.get(*key) is not session:
                return None  # it changed while Kueue's objects were read, and is in the queue again for that
            starts = quota is not None and session.status.phase in (None, "Pending")
            if (trouble is not None or starts) and session.spec.from_job is not None:
                self._waiting.setdefault((key[0], session.spec.from_job), set()).add(key)
            seen = self._seen(session, memory, source, trouble, quota)
            decision = decide_session(session, seen, self._clock.now(), self._present_site())
            after = await self._executor.execute(session, decision, memory)
            if decision.workload is not None:
                await self._queues.write(whole, decision.workload)
            times = (after, decision.requeue_after_seconds, memory.wake_seconds(self._clock.monotonic()))
            return min((seconds for seconds in times if seconds is not None), default=None)

    async def report(self, key: Key, error: Exception, failures: int) -> None:
        """Tell whoever looks at the session that its passes fail. An error of ours is told by its class alone."""
        session = self._sessions.get(*key)
        if session is None:
            return
        why = error.message if isinstance(error, ApiError) else f"{type(error).__name__}, see the operator's log"
        message = f"a pass over the session failed and is tried again: {why}"
        self._recorder.record(DEV_SESSIONS, session.metadata, "Warning", "ReconcileError", message)

    def _source(self, session: DevSession) -> tuple[TrainingJob | None, tuple[str, str] | None]:
        """Return the job of fromJob with its profile's values, or why there is none."""
        name, namespace = session.spec.from_job, session.metadata.namespace
        if name is None:
            return None, None
        job = self._caches.jobs.get(namespace, name)
        if job is None:
            remedy = f"create it, or name another one ('kubectl get tj -n {namespace}')"
            return None, ("WaitingForJob", f"there is no TrainingJob {name} in namespace {namespace}: {remedy}")
        kept = job.status.profile
        if job.spec.profile is not None and (kept is None or kept.name != job.spec.profile):
            # It has not begun: what it would begin with counts.
            reading = profile.read(job, self._caches.profile(job), self._caches.home)
            if reading.is_due and reading.obstacle is not None:
                why, text = reading.obstacle
                return None, (why, f"job {name}: {text}")
            if reading.is_due and reading.taken is not None:
                job = profiled(job, reading.taken)
        return job, None

    def _seen(
        self,
        session: DevSession,
        memory: JobMemory,
        source: TrainingJob | None,
        trouble: tuple[str, str] | None,
        quota: Quota | None,
    ) -> SessionSeen:
        (namespace, name), now = session.key, self._clock.monotonic()
        wanted = sessionname.pod(name, session.status.start)
        there = self._caches.pods.get(namespace, wanted)
        foreign = there is not None and there.metadata.controller_uid != session.metadata.uid
        return SessionSeen(
            pods=self._caches.pods.by_owner(session.metadata.uid),
            source=source,
            trouble=trouble,
            claim=self._caches.claims.get(namespace, sessionname.claim(name))
            or _found(Claim, memory.stranger(CLAIMS.kind, now)),
            policy=self._caches.policies.get(namespace, sessionname.network_policy(name))
            or _found(NetworkPolicy, memory.stranger(NETWORK_POLICIES.kind, now)),
            squatter=wanted if foreign else next(iter(memory.squatters(now)), ""),
            refusal=memory.refusal(now),
            quota=quota,
            report=self._report(session.key, there) if not foreign else None,
        )

    def _report(self, key: Key, pod: Pod | None) -> SessionReport | None:
        if self._channel is None or pod is None:
            return None
        return self._channel.sessions.report(key, pod.metadata.uid)

    def _present_site(self) -> SessionSite:
        if self._channel is None:
            return self._site
        return msgspec.structs.replace(self._site, channel=self._channel.site)

    def _memory(self, session: DevSession) -> JobMemory:
        uid, memory = self._memories.get(session.key, ("", JobMemory()))
        if uid != session.metadata.uid:
            memory = JobMemory()
            self._memories[session.key] = (session.metadata.uid, memory)
        return memory

    def _waits_no_more(self, key: Key) -> None:
        for job in [job for job, keys in self._waiting.items() if key in keys]:
            self._waiting[job].discard(key)
            if not self._waiting[job]:
                del self._waiting[job]

    def _report_undecodable(self, key: Key) -> None:
        strange = self._sessions.undecodable(*key)
        if strange is not None:
            message = f"this version cannot read the session and leaves it alone: {strange.error}"
            self._recorder.record(DEV_SESSIONS, strange.metadata, "Warning", "UnsupportedSpec", message)


def _found(kind: type[T], metadata: Metadata | None) -> T | None:
    return None if metadata is None else msgspec.structs.replace(kind(), metadata=metadata)
