"""The operator's end of Kueue: nothing is asked, watched or written before a job or a session is in a queue.

From then on their Workloads are watched, where Kueue is served; whether it is, is asked again and again while it is
not. What a Workload names (flavors, a priority class) is read when it is needed, and kept with its owner. Jobs and
sessions have one of these each, with a watch for its own Workloads alone; a session is asked for as a job.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from ganger.api.observed import Metadata
from ganger.api.queueing import GROUP, VERSIONS, Flavor, PriorityClass, Workload
from ganger.api.session import DevSession
from ganger.api.types import TrainingJob
from ganger.app.caches import OURS, Key
from ganger.kube.cluster import Cluster
from ganger.kube.errors import AlreadyExists, ApiError, Forbidden, NotFound
from ganger.kube.resources import FLAVORS, PRIORITY_CLASSES, WORKLOAD_CLASSES, WORKLOADS, Resource
from ganger.plan.quota import Change, Priority, Quota, queue
from ganger.plan.workload import wanted_class
from ganger.runtime.cache import Cache, Undecodable
from ganger.runtime.consistency import Consistency
from ganger.runtime.ports import Metrics
from ganger.runtime.reflector import Reflector, Timing

log = logging.getLogger(__name__)
RETRY_SECONDS = 30.0  # between two looks whether Kueue is served by now
_flavor = msgspec.json.Decoder(Flavor)
Owner = TypeVar("Owner", TrainingJob, DevSession)
_class = msgspec.json.Decoder(PriorityClass)


class _Classes(msgspec.Struct, frozen=True):
    items: tuple[PriorityClass, ...] = ()


_classes = msgspec.json.Decoder(_Classes)


class Queues(Generic[Owner]):
    """What Kueue says of the owners, and what it is told. `run` is its only loop.

    owners: all jobs, or all sessions. label: which their Workloads carry, with the owner's name. queue_of: the queue of
    an owner, "" for none. enqueue: asks for a pass over an owner.
    """

    def __init__(
        self,
        cluster: Cluster,
        owners: Cache[Owner],
        label: str,
        namespaces: tuple[str, ...],
        consistency: Consistency[Key],
        *,
        queue_of: Callable[[Owner], str],
        enqueue: Callable[[Key], None],
        metrics: Metrics,
        timing: Timing | None = None,
    ) -> None:
        self._cluster = cluster
        self._owners: Cache[Owner] = owners
        self._label = label
        self._queue_of: Callable[[Owner], str] = queue_of
        self._consistency = consistency
        self._enqueue = enqueue
        self._state = Quota()
        self._workloads: Cache[Workload] = Cache()
        self._wanted = asyncio.Event()
        self._flavors: dict[Key, tuple[str, dict[str, Flavor]]] = {}
        self._reflectors: list[Reflector[Workload]] = [
            Reflector(
                cluster, WORKLOADS, Workload, self._workloads,
                namespace=namespace, label_selector=f"{OURS},{label}", metrics=metrics, timing=timing,
            )
            for namespace in namespaces or ("",)
        ]  # fmt: skip
        self._owners.on_change(self._owner_changed)
        self._workloads.on_change(self._workload_changed)
        consistency.include(WORKLOADS, self._workloads)

    async def run(self) -> None:
        """Wait for an owner with a queue, find out whether Kueue is served, and watch; until cancelled."""
        await self._wanted.wait()
        while not await self._is_served():
            self._say(Quota(state="Absent"))
            await asyncio.sleep(RETRY_SECONDS)
        async with asyncio.TaskGroup() as tasks:
            for reflector in self._reflectors:
                tasks.create_task(reflector.run())
            while not await self._are_synced():
                trouble = next((each.trouble for each in self._reflectors if each.trouble), "")
                why = _no_right(WORKLOADS) if "403" in trouble else trouble
                self._say(Quota(trouble=("WaitingForQueue", f"Kueue has not been heard yet: {why}")))
            log.info("Kueue is served: %d Workloads with %s", len(self._workloads), self._label)
            self._say(Quota(state="Served"))

    def hurry(self) -> None:
        """Look again at once at a server that was away."""
        for reflector in self._reflectors:
            reflector.hurry()

    def relist(self, resource: Resource, namespace: str) -> None:
        """List Workloads anew, where it is about them."""
        for reflector in self._reflectors:
            if resource == WORKLOADS and reflector.namespace in ("", namespace):
                reflector.relist()

    def forget(self, key: Key) -> None:
        """Forget an owner that is gone."""
        self._flavors.pop(key, None)

    async def seen(self, job: TrainingJob) -> Quota | None:
        """Return what is known of the quota, None for a job that never was in a queue. Raises ApiError.

        job: a session as the job that is asked for (plan/sessionqueue.py), one that rests as suspended.
        """
        workload = next(iter(self._workloads.by_owner(job.metadata.uid)), None)
        if workload is None and not queue(job):
            return None
        self._wanted.set()  # a session may have got its queue by the job that it forks
        quota = msgspec.structs.replace(self._state, workload=workload)
        if quota.state != "Served" or job.status.finished or job.spec.suspend:
            return quota
        try:
            flavors = await self._read_flavors(job, workload)
            priority = await self._read_priority(job, workload)
        except _UnreadableError as unreadable:
            return msgspec.structs.replace(quota, trouble=unreadable.trouble)
        return msgspec.structs.replace(quota, flavors=flavors, priority=priority)

    async def write(self, job: TrainingJob, change: Change) -> None:
        """Carry a change out. Raises ApiError, Conflict where Kueue has written meanwhile."""
        target = change.target
        try:
            if change.verb == "create":
                written = await self._cluster.create(WORKLOADS, job.metadata.namespace, change.body)
            elif change.verb == "delete":
                await self._cluster.delete(WORKLOADS, target.namespace, target.name, uid=target.uid)
                self._consistency.deleted(job.key, WORKLOADS, target)
                return
            elif change.verb == "status":
                written = await self._cluster.patch(
                    WORKLOADS, target.namespace, target.name, change.body, subresource="status"
                )
            else:
                written = await self._cluster.patch(WORKLOADS, target.namespace, target.name, change.body)
        except AlreadyExists:
            return  # its name is a function of the job's UID: the cache will show it
        except NotFound:
            if change.verb == "create":
                raise
            return  # gone: the next pass makes another
        self._consistency.wrote(job.key, WORKLOADS, written)

    async def _is_served(self) -> bool:
        try:
            return WORKLOADS.plural in (await self._cluster.discover(GROUP)).get(VERSIONS[0], ())
        except ApiError as error:
            log.warning("whether Kueue is served is not known yet: %s", error)
            return False

    async def _are_synced(self) -> bool:
        try:
            async with asyncio.timeout(RETRY_SECONDS):
                for reflector in self._reflectors:
                    await reflector.wait_synced()
        except TimeoutError:
            return False
        return True

    def _say(self, state: Quota) -> None:
        if state == self._state:
            return
        self._state = state
        for owner in self._owners.all():
            if self._queue_of(owner):
                self._enqueue(owner.key)

    def _owner_changed(self, old: Any, new: Any) -> None:
        if new is not None and not isinstance(new, Undecodable) and self._queue_of(new):
            self._wanted.set()

    def _workload_changed(self, old: Any, new: Any) -> None:
        meta: Metadata = (new if new is not None else old).metadata
        name = meta.labels.get(self._label)
        if name:
            self._enqueue((meta.namespace, name))

    async def _read_flavors(self, job: TrainingJob, workload: Workload | None) -> dict[str, Flavor]:
        """Return the flavors of the admission as they were when it was first seen: a gang is not of two minds."""
        admission = workload.status.admission if workload is not None else None
        if workload is None or admission is None:
            self._flavors.pop(job.key, None)
            return {}
        admitted = workload.condition("QuotaReserved")
        since = f"{workload.metadata.uid} {admitted.last_transition_time if admitted is not None else ''}"
        known = self._flavors.get(job.key)
        if known is not None and known[0] == since:
            return known[1]
        wanted = {name for assignment in admission.pod_set_assignments for name in assignment.flavors.values()}
        found = {}
        for name in sorted(wanted):
            body = await self._read(FLAVORS, name, "the node labels of the admission are unknown")
            found[name] = _flavor.decode(body)
        self._flavors[job.key] = (since, found)
        return found

    async def _read_priority(self, job: TrainingJob, workload: Workload | None) -> Priority | None:
        """Return the priority that the Workload should have, None where it has it already."""
        group, name = wanted_class(job)
        held = workload.spec.priority_class_ref if workload is not None else None
        if workload is not None and (not name or (held is not None and (held.group, held.name) == (group, name))):
            return None
        if group == GROUP:
            body = await self._read(
                WORKLOAD_CLASSES, name, "name another one in the label kueue.x-k8s.io/priority-class"
            )
            return Priority(group=group, kind=WORKLOAD_CLASSES.kind, name=name, value=_class.decode(body).value)
        try:
            found = _classes.decode(await self._cluster.list(PRIORITY_CLASSES, limit=0)).items
        except Forbidden as error:
            raise _UnreadableError("NoRightOnQueue", _no_right(PRIORITY_CLASSES)) from error
        fitting = [each for each in found if (each.metadata.name == name if name else each.global_default)]
        if not fitting:
            if not name:
                return Priority()
            raise _UnreadableError("PriorityClassNotFound", f"there is no PriorityClass {name}; create it")
        chosen = min(fitting, key=lambda each: each.value)
        return Priority(group=group, kind=PRIORITY_CLASSES.kind, name=chosen.metadata.name, value=chosen.value)

    async def _read(self, resource: Resource, name: str, remedy: str) -> bytes:
        try:
            return await self._cluster.get(resource, None, name)
        except NotFound as error:
            raise _UnreadableError(
                f"{resource.kind}NotFound", f"there is no {resource.kind} {name}; {remedy}"
            ) from error
        except Forbidden as error:
            raise _UnreadableError("NoRightOnQueue", _no_right(resource)) from error


class _UnreadableError(Exception):
    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.trouble = (reason, message)


def _no_right(resource: Resource) -> str:
    return f"the operator may not read {resource.plural}; set operator.kueue=true in the chart's values"
