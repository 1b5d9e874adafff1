"""Carry one decision out, in the order that makes every crash harmless.

Status first where it matters (a new attempt, an end), then deletions, then Service, claim, policy and PodGroup, then
the pods, then the events of a status that was written. Names are deterministic, so what was done already answers
AlreadyExists.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ganger.api.observed import Metadata
from ganger.api.status import Failure
from ganger.api.types import TrainingJob
from ganger.app.caches import Caches, Key
from ganger.app.doubt import hidden_pod
from ganger.app.duplicates import Duplicates
from ganger.app.memory import JobMemory
from ganger.app.telling import emit, status_of
from ganger.contract import LABEL_JOB
from ganger.kube.cluster import Cluster
from ganger.kube.errors import AlreadyExists, ApiError, Conflict, Forbidden, Invalid, NotFound
from ganger.kube.resources import CLAIMS, NETWORK_POLICIES, POD_GROUPS, PODS, SERVICES, TRAINING_JOBS, Resource
from ganger.plan.seen import Decision, Deletion, Refusal
from ganger.runtime import wire
from ganger.runtime.consistency import Consistency
from ganger.runtime.events import Recorder
from ganger.runtime.limiter import Limiter

log = logging.getLogger(__name__)
# A burst of jobs is served first and described later: from 2 s for one job to 10 s from 33 jobs on.
BURST_JOBS = 8
BURST_FACTOR_MAX = 5.0
CONFLICTS_IN_DOUBT = 5  # in a row, 0.2 s in all by the queue's back-off: a watch that works is faster
_RESOURCES = {(each.api_version, each.kind): each for each in (SERVICES, CLAIMS, NETWORK_POLICIES, PODS, *POD_GROUPS)}


class Executor:
    """Does what a Decision says. Raises the ApiErrors that the runtime retries by class."""

    def __init__(
        self,
        cluster: Cluster,
        consistency: Consistency[Key],
        limiter: Limiter[Key],
        recorder: Recorder,
        monotonic: Callable[[], float],
        duplicates: Duplicates,
    ) -> None:
        self._cluster = cluster
        self._consistency = consistency
        self._limiter = limiter
        self._recorder = recorder
        self._monotonic = monotonic
        self._duplicates = duplicates
        self._unsaid: set[Key] = set()  # jobs with a status that waits for company

    async def doubts(self, job: TrainingJob, decision: Decision, caches: Caches) -> bool:
        """Whether the decision rests on pods that only the cache lacks; then they are listed anew."""
        found = await hidden_pod(self._cluster, caches, job, decision)
        if found is None:
            return False
        log.warning("pod %s is there, but the cache does not show it: listing anew", found.name)
        self._consistency.doubt(PODS, found.namespace)
        return True

    async def execute(self, job: TrainingJob, decision: Decision, memory: JobMemory) -> None:
        """Carry the decision out."""
        self._duplicates.look(job)
        if decision.status is None:
            self._said(job, memory)
        urgent = decision.status_delay_seconds == 0.0
        if decision.status is not None and urgent:
            await self._write_status(job, decision, memory)
        await _all(self._delete(job, deletion) for deletion in decision.deletions)
        # A worker without the gang's own Service and volume is none: a later pass says what is in the way.
        if await self._create_shared(job, decision.shared, memory) and decision.pods:
            await self._create_pods(job, decision.pods, memory)
        if decision.delete_job:
            await self._delete_job(job)
        if decision.status is not None and not urgent and self._is_due(job, decision.status_delay_seconds, memory):
            await self._write_status(job, decision, memory)

    def _is_due(self, job: TrainingJob, delay_seconds: float, memory: JobMemory) -> bool:
        """Whether the status has waited long enough for company: the longer, the more jobs come up beside this one."""
        now = self._monotonic()
        self._unsaid.add(job.key)
        if memory.status_since is None:
            memory.status_since = now
        factor = min(BURST_FACTOR_MAX, 1.0 + (len(self._unsaid) - 1) / BURST_JOBS)
        memory.status_due = memory.status_since + delay_seconds * factor
        return now >= memory.status_due

    def _said(self, job: TrainingJob, memory: JobMemory) -> None:
        memory.status_since = memory.status_due = None
        self._unsaid.discard(job.key)

    def forget(self, key: Key) -> None:
        """Forget a job that is gone."""
        self._unsaid.discard(key)
        self._duplicates.forget(key)

    async def _write_status(self, job: TrainingJob, decision: Decision, memory: JobMemory) -> None:
        assert decision.status is not None
        namespace, name = job.key
        manifest = status_of(TRAINING_JOBS, job.metadata, decision.status)
        try:
            async with self._limiter.slot(job.key):
                written = await self._cluster.apply(TRAINING_JOBS, namespace, name, manifest, subresource="status")
        except Conflict:
            self._duplicates.met(job)
            memory.conflicts += 1
            if memory.conflicts % CONFLICTS_IN_DOUBT == 0:
                self._consistency.doubt(TRAINING_JOBS, namespace)  # the news that would explain them does not come
            raise
        except ApiError:
            self._duplicates.failed(job)
            raise
        memory.conflicts = 0
        self._duplicates.wrote(job, written)
        self._consistency.wrote(job.key, TRAINING_JOBS, written)
        self._said(job, memory)
        for event in decision.events:
            emit(self._recorder, TRAINING_JOBS, job.metadata, event, _cause(job, decision))

    async def _delete(self, job: TrainingJob, deletion: Deletion) -> None:
        meta, resource = deletion.metadata, _RESOURCES[deletion.api_version, deletion.kind]
        try:
            async with self._limiter.slot(job.key):
                await self._cluster.delete(
                    resource, meta.namespace, meta.name, uid=meta.uid, grace_seconds=deletion.grace_seconds
                )
        except (NotFound, Conflict):
            pass  # gone, or the name belongs to a later one by now
        self._consistency.deleted(job.key, resource, meta)

    async def _delete_job(self, job: TrainingJob) -> None:
        try:
            async with self._limiter.slot(job.key):
                await self._cluster.delete(TRAINING_JOBS, *job.key, uid=job.metadata.uid)
        except NotFound:
            return
        self._consistency.deleted(job.key, TRAINING_JOBS, job.metadata)

    async def _create_shared(self, job: TrainingJob, shared: tuple[dict[str, Any], ...], memory: JobMemory) -> bool:
        """Create what the workers share, and return whether all of it is there and the job's own."""
        refusals: list[Refusal] = []
        await _all(self._create(job, manifest, memory, refusals) for manifest in shared)
        now = self._monotonic()
        if refusals:
            memory.refused(refusals[0], now)
        return not refusals and not any(memory.stranger(manifest["kind"], now) for manifest in shared)

    async def _create(
        self, job: TrainingJob, manifest: dict[str, Any], memory: JobMemory, refusals: list[Refusal]
    ) -> None:
        """Create one of them. An object that is there already is judged by the next pass."""
        resource = _RESOURCES[manifest["apiVersion"], manifest["kind"]]
        try:
            async with self._limiter.slot(job.key):
                written = await self._cluster.create(resource, job.metadata.namespace, manifest)
        except AlreadyExists:
            # Without our label it is in no cache; only reading it tells whose it is.
            written = await self._read(resource, job.metadata.namespace, manifest["metadata"]["name"])
            if written.labels.get(LABEL_JOB) != job.metadata.name:
                memory.met_stranger(resource.kind, written, self._monotonic())
            return
        except (Forbidden, Invalid) as error:
            refusals.append(refusal(error, resource.kind))
            return
        self._consistency.wrote(job.key, resource, written)

    async def _create_pods(self, job: TrainingJob, pods: tuple[dict[str, Any], ...], memory: JobMemory) -> None:
        squatters: list[str] = []
        refusals: list[Refusal] = []

        async def create(manifest: dict[str, Any]) -> None:
            try:
                async with self._limiter.slot(job.key):
                    if refusals:
                        return  # the gang is all or nothing: one refusal decides, also for those that wait
                    written = await self._cluster.create(PODS, job.metadata.namespace, manifest)
            except AlreadyExists:
                found = await self._read(PODS, job.metadata.namespace, manifest["metadata"]["name"])
                if found.controller_uid != job.metadata.uid:
                    squatters.append(found.name)
                    return
                written = found
            except (Forbidden, Invalid) as error:
                refusals.append(refusal(error, PODS.kind))
                return
            self._consistency.wrote(job.key, PODS, written)

        await _all(create(manifest) for manifest in pods)
        now = self._monotonic()
        if squatters:
            memory.met(tuple(squatters), now)
        if refusals:
            memory.refused(refusals[0], now)
        else:
            memory.created()

    async def _read(self, resource: Resource, namespace: str, name: str) -> Metadata:
        return wire.identity(await self._cluster.get(resource, namespace, name))


def _new_failure(job: TrainingJob, decision: Decision) -> Failure | None:
    """Return the failure that the decision is about, None where it is about none."""
    new = decision.status.restarts if decision.status is not None else None
    old = job.status.restarts
    return new.last if new is not None and new.last != (old.last if old is not None else None) else None


def _cause(job: TrainingJob, decision: Decision) -> dict[str, object]:
    """Return who caused a new failure, for the log."""
    cause = _new_failure(job, decision)
    if cause is None:
        return {}
    who = {"rank": cause.rank, "pod": cause.pod, "node": cause.node, "exit_code": cause.exit_code}
    return {name: value for name, value in who.items() if value not in (None, "")}


def refusal(error: ApiError, kind: str) -> Refusal:
    """Return what a refused create of that kind means."""
    if isinstance(error, Forbidden) and error.is_quota:
        return Refusal(reason="QuotaExceeded", message=error.message)
    if isinstance(error, Forbidden) and error.is_namespace_terminating:
        return Refusal(reason="NamespaceTerminating", message=error.message)
    return Refusal(
        reason=f"{kind}Invalid" if isinstance(error, Invalid) else f"{kind}Forbidden",
        message=error.message,
        permanent=isinstance(error, Invalid),
    )


async def _all(calls: Iterable[Awaitable[None]]) -> None:
    """Run the calls side by side, wait for all of them, then raise the first error."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
