"""The users and the kubelets of a soak: every job of a wave led to its end, through whatever outage there is."""

import asyncio
import contextlib
from collections.abc import Callable

import msgspec
from msgspec import Struct

from bench.soakfates import GONE, End, Fate, ended, manifest
from bench.soakworld import NAMESPACE
from ganger.api.observed import Metadata
from ganger.api.status import TrainingJobStatus
from ganger.contract import LABEL_ATTEMPT, LABEL_JOB
from ganger.kube.errors import AlreadyExists, ApiError, Conflict, Forbidden, Invalid
from ganger.kube.resources import PODS, TRAINING_JOBS

LOOK_SECONDS = 0.5
OVER = ("Succeeded", "Failed")


class _Job(Struct, frozen=True):
    metadata: Metadata
    status: TrainingJobStatus = TrainingJobStatus()


class _PodStatus(Struct, frozen=True):
    phase: str = ""


class _Pod(Struct, frozen=True):
    metadata: Metadata
    status: _PodStatus = _PodStatus()


class _Jobs(Struct, frozen=True):
    items: tuple[_Job, ...] = ()


class _Pods(Struct, frozen=True):
    items: tuple[_Pod, ...] = ()


_jobs = msgspec.json.Decoder(_Jobs)
_pods = msgspec.json.Decoder(_Pods)


class View:
    """What exists in the namespace of the soak, read over and over. Use it as an async context."""

    def __init__(self, cluster) -> None:
        self.cluster = cluster
        self.jobs: dict[str, _Job] = {}
        self.pods: dict[str, list[_Pod]] = {}
        self._looked = asyncio.Condition()

    async def __aenter__(self):
        self._task = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self):
        while True:
            with contextlib.suppress(ApiError):
                jobs = _jobs.decode(await self.cluster.list(TRAINING_JOBS, NAMESPACE, limit=0))
                pods = _pods.decode(await self.cluster.list(PODS, NAMESPACE, limit=0))
                self.jobs = {job.metadata.name: job for job in jobs.items}
                self.pods = {}
                for pod in pods.items:
                    self.pods.setdefault(pod.metadata.labels[LABEL_JOB], []).append(pod)
                async with self._looked:
                    self._looked.notify_all()
            await asyncio.sleep(LOOK_SECONDS)

    async def until(self, condition: Callable[[], object]) -> None:
        """Return once it holds of what was read after this call."""
        async with self._looked:
            await self._looked.wait()
            await self._looked.wait_for(condition)


class Hand:
    """One job, in the hands of its user and of the kubelets of its pods."""

    def __init__(self, view: View, name: str, fate: Fate, workers: int) -> None:
        self._view, self.name, self.fate = view, name, fate
        self._workers = fate.workers or workers

    @property
    def job(self) -> _Job | None:
        """The job, None when it is gone."""
        return self._view.jobs.get(self.name)

    @property
    def pods(self) -> list[_Pod]:
        """Its pods, of all attempts."""
        return self._view.pods.get(self.name, [])

    @property
    def phase(self) -> str:
        """The phase, GONE where the job is."""
        return (self.job.status.phase or "") if self.job is not None else GONE

    async def live(self) -> None:
        """Create the job, do to it what its fate says, and wait until it has ended."""
        await self._insist(lambda: self._view.cluster.create(TRAINING_JOBS, NAMESPACE, self._manifest()))
        await self.until(lambda: self.job is not None)
        await self.fate.script(self)
        await self.until(lambda: self.phase == GONE or (self.fate.end.phase != GONE and self._is_over()))

    def _manifest(self) -> dict:
        return manifest(self.name, self.fate, self._workers)

    def _is_over(self) -> bool:
        return self.job is not None and self.job.status.finished

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for what is seen of the job."""
        await self._view.until(condition)

    async def running(self, attempt: int = 0) -> None:
        """Wait until the gang runs, in that attempt; or until the job is over, and nothing more can be done to it."""
        await self.until(lambda: self._is_over() or self._runs(attempt))

    def _runs(self, attempt: int) -> bool:
        pods = self._of_attempt(attempt)
        is_told = self.job is not None and (self.phase, self.job.status.attempt) == ("Running", attempt)
        return is_told and bool(pods) and all(pod.status.phase == "Running" for pod in pods)

    def _of_attempt(self, attempt: int) -> list[_Pod]:
        return [pod for pod in self.pods if int(pod.metadata.labels[LABEL_ATTEMPT]) == attempt]

    async def end_pods(self, exit_code: int) -> None:
        """End all workers well, or the first one with that code."""
        attempt = self.job.status.attempt if self.job is not None else 0
        for pod in sorted(self._of_attempt(attempt), key=lambda pod: pod.metadata.name)[: 1 if exit_code else None]:
            one, body = pod.metadata, ended(exit_code)
            await self._insist(
                lambda o=one, b=body: self._view.cluster.patch_status(PODS, NAMESPACE, o.name, b),
                lambda o=one: not self._has(o.uid),
            )

    async def delete_pod(self) -> None:
        """Delete the pod of a worker at once, as an eviction does."""
        pod = min(self.pods, key=lambda pod: pod.metadata.name).metadata
        await self._insist(
            lambda: self._view.cluster.delete(PODS, NAMESPACE, pod.name, uid=pod.uid, grace_seconds=0),
            lambda: not self._has(pod.uid),
        )

    def _has(self, uid: str) -> bool:
        return any(pod.metadata.uid == uid for pod in self.pods)

    async def change(self, **spec) -> None:
        """Edit the spec."""
        await self._insist(
            lambda: self._view.cluster.patch(TRAINING_JOBS, NAMESPACE, self.name, {"spec": spec}),
            lambda: self.job is None,
        )

    async def delete(self) -> None:
        """Delete the job, if it is there."""
        job = self.job
        if job is not None:
            uid = job.metadata.uid
            await self._insist(
                lambda: self._view.cluster.delete(TRAINING_JOBS, NAMESPACE, self.name, uid=uid),
                lambda: self.job is None,
            )

    async def _insist(self, request, in_vain=lambda: False) -> None:
        """Send a request until it gets through, or what it is about is not there any more.

        NotFound alone says little: an API server that is not long back does not serve TrainingJobs yet.
        """
        while not in_vain():
            try:
                await request()
            except (AlreadyExists, Conflict):
                return  # an earlier one got through, though its answer did not
            except ApiError as error:
                if isinstance(error, Invalid | Forbidden):
                    raise
                await asyncio.sleep(LOOK_SECONDS)
            else:
                return

    def came_to(self) -> End:
        """How it ended, as its status says."""
        if self.job is None:
            return End(GONE)
        status = self.job.status
        failed = status.condition("Failed")
        restarts, resizes = status.restarts, status.resizes
        return End(
            self.phase,
            failed.reason if failed is not None and failed.status == "True" else "",
            restarts.counted if restarts is not None else 0,
            restarts.total if restarts is not None else 0,
            resizes.total if resizes is not None else 0,
        )
