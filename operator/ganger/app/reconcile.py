"""One pass over one job: see, decide, execute."""

from collections.abc import Callable

from ganger.api.defaults import fill
from ganger.api.status import TrainingJobStatus
from ganger.api.types import TrainingJob, profiled
from ganger.api.validate import check
from ganger.app.caches import Caches, Key
from ganger.app.execute import Executor
from ganger.app.inquiries import Inquiries
from ganger.app.memory import JobMemory
from ganger.app.queues import Queues
from ganger.control.reports import Reports
from ganger.kube.errors import ApiError
from ganger.kube.resources import CLAIMS, NETWORK_POLICIES, POD_GROUPS, SERVICES, TRAINING_JOBS
from ganger.observe.logs import about
from ganger.plan import lifecycle, profile, settings
from ganger.plan.decide import decide
from ganger.plan.inquiry import question
from ganger.plan.quota import Quota
from ganger.plan.site import NOWHERE, Site
from ganger.runtime.controller import WAITING_SECONDS
from ganger.runtime.events import Recorder
from ganger.runtime.ports import Clock


class Reconciler:
    """`sync` is what the runtime calls with a key; it returns the seconds until the job wants to be looked at again."""

    def __init__(
        self,
        caches: Caches,
        executor: Executor,
        recorder: Recorder,
        clock: Clock,
        default_image: str,
        forget: Callable[[Key], None],
        *,
        site: Callable[[], Site] = lambda: NOWHERE,
        reports: Reports | None = None,
        inquiries: Inquiries | None = None,
        queues: Queues[TrainingJob] | None = None,
    ) -> None:
        self._caches = caches
        self._executor = executor
        self._recorder = recorder
        self._clock = clock
        self._default_image = default_image
        self._forget = forget  # told of keys whose job is gone
        self._site = site
        self._reports = reports if reports is not None else Reports()
        self._inquiries = inquiries  # None: nodes may not be read
        self._queues = queues
        self._memories: dict[Key, tuple[str, JobMemory]] = {}
        self._refusals: dict[Key, tuple[str, int, tuple[str, ...]]] = {}

    async def sync(self, key: Key) -> float | None:
        """Bring one job one step nearer to what it should be. Raises ApiError; the runtime retries by its class."""
        job = self._caches.jobs.get(*key)
        if job is None:
            self._report_undecodable(key)
            self._forget(key)
            self._memories.pop(key, None)
            self._refusals.pop(key, None)
            return None
        with about(namespace=key[0], job=key[1], uid=job.metadata.uid, attempt=job.status.attempt):
            if _is_silent(job, self._caches):
                self._reports.forget(key)  # else workers that are gone would count for how often the others report
            stored, reading = job, None
            if profile.is_wanted(job):
                # Before its queue: what the job is with its profile is what quota is asked for.
                pods = self._caches.pods.by_owner(job.metadata.uid)
                reading = profile.read(job, self._caches.profile(job), self._caches.home, pods)
                if reading.taken is not None and reading.is_due:
                    job = profiled(job, reading.taken)
            quota = await self._queues.seen(job) if self._queues is not None else None
            if self._caches.jobs.get(*key) is not stored:
                return None  # it changed while Kueue's objects were read, and is in the queue again for that
            return await self._pass(key, fill(job, self._default_image), quota, reading)

    async def _pass(
        self, key: Key, job: TrainingJob, quota: Quota | None, reading: profile.Reading | None
    ) -> float | None:
        memory = self._memory(job)
        self._inquire(key, job, job.status, memory)
        now = self._clock.monotonic()
        seen = self._caches.seen(
            job,
            squatters=memory.squatters(now),
            stranger_service=memory.stranger(SERVICES.kind, now),
            stranger_claim=memory.stranger(CLAIMS.kind, now),
            stranger_policy=memory.stranger(NETWORK_POLICIES.kind, now),
            stranger_group=memory.stranger(POD_GROUPS[0].kind, now),
            refusal=memory.refusal(now),
            live=self._reports.live(key, job.metadata.uid, job.status.attempt),
            heard=self._reports.heard(key, job.metadata.uid, job.status.attempt),
            track=self._reports.track(key, job.metadata.uid, job.status.attempt),
            answer=memory.answer,
            asks=memory.asks(now),
            quota=quota,
            reading=reading,
        )
        decision = decide(job, seen, self._clock.now(), self._unsupported(job), self._site())
        if await self._executor.doubts(job, decision, self._caches):
            return WAITING_SECONDS
        if decision.status is not None:
            self._inquire(key, job, decision.status, memory)  # under way together with the write of the restart
        await self._executor.execute(job, decision, memory)
        if decision.workload is not None and self._queues is not None:
            await self._queues.write(job, decision.workload)
        times = (decision.requeue_after_seconds, memory.wake_seconds(self._clock.monotonic()))
        return min((seconds for seconds in times if seconds is not None), default=None)

    async def report(self, key: Key, error: Exception, failures: int) -> None:
        """Tell whoever looks at the job that its passes fail. An error of ours is told by its class alone."""
        job = self._caches.jobs.get(*key)
        if job is None:
            return
        why = error.message if isinstance(error, ApiError) else f"{type(error).__name__}, see the operator's log"
        message = f"a pass over the job failed and is tried again: {why}"
        self._recorder.record(TRAINING_JOBS, job.metadata, "Warning", "ReconcileError", message)

    def _memory(self, job: TrainingJob) -> JobMemory:
        uid, memory = self._memories.get(job.key, ("", JobMemory()))
        if uid != job.metadata.uid:
            memory = JobMemory()
            self._memories[job.key] = (job.metadata.uid, memory)
        return memory

    def _inquire(self, key: Key, job: TrainingJob, status: TrainingJobStatus, memory: JobMemory) -> None:
        asked = question(job, status) if self._inquiries is not None else None
        if asked is not None and self._inquiries is not None:
            self._inquiries.ask(key, asked, memory)

    def _unsupported(self, job: TrainingJob) -> tuple[str, ...]:
        """Why the spec cannot be served; worked out once for each generation, since a pass is frequent."""
        uid, generation, found = self._refusals.get(job.key, ("", -1, ()))
        if (uid, generation) != (job.metadata.uid, job.metadata.generation):
            # The API server has checked the same rules; an object stored before a rule existed meets them here.
            # What is wrong with live settings stops no job: see `settings`.
            errors = [error for error in check(job) if error.path != settings.PATH]
            found = tuple(str(error) for error in errors)
            self._refusals[job.key] = (job.metadata.uid, job.metadata.generation, found)
        return found

    def _report_undecodable(self, key: Key) -> None:
        strange = self._caches.jobs.undecodable(*key)
        if strange is not None:
            message = f"this version cannot read the job and leaves it alone: {strange.error}"
            self._recorder.record(TRAINING_JOBS, strange.metadata, "Warning", "UnsupportedSpec", message)


def _is_silent(job: TrainingJob, caches: Caches) -> bool:
    """Whether nobody can report any more: the job has ended, or is suspended and without pods."""
    suspended = job.status.is_true(lifecycle.SUSPENDED)
    return job.status.finished or (suspended and not caches.pods.by_owner(job.metadata.uid))
