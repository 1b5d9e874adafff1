"""Every event of the pods, the Workloads and the TrainingJobs of a namespace, from one watch of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import msgspec
from msgspec import Struct

from ganger.api.observed import Metadata
from ganger.kube.cluster import Cluster
from ganger.kube.resources import PODS, TRAINING_JOBS, WORKLOADS, Resource
from ganger_dev.gangs import facts
from ganger_dev.gangs.facts import Fact, JobFact, PodFact, WorkloadFact

Read = Callable[[str, msgspec.Raw, float], Fact]
_WATCHED: Final[tuple[tuple[Resource, Read], ...]] = (
    (PODS, facts.pod),
    (WORKLOADS, facts.workload),
    (TRAINING_JOBS, facts.job),
)
_WATCH_SECONDS = 3000


class _Object(Struct, frozen=True):
    metadata: Metadata = Metadata()


class _ListMeta(Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _List(Struct, frozen=True):
    metadata: _ListMeta = _ListMeta()
    items: tuple[_Object, ...] = ()


_line = msgspec.json.Decoder(facts.Line)
_object = msgspec.json.Decoder(_Object)
_list = msgspec.json.Decoder(_List)


class LostEventsError(Exception):
    """The API server no longer has events that were not read yet: what happened in them is not known."""


class Recorder:
    """What happened in a namespace that had nothing in it. Use it as an async context.

    facts: all of it, as it was read. pods, workloads, jobs: the newest fact of each that exists, by name.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self._began = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self.facts: list[Fact] = []
        self.pods: dict[str, PodFact] = {}
        self.workloads: dict[str, WorkloadFact] = {}
        self.jobs: dict[str, JobFact] = {}
        self._versions: dict[str, dict[str, int]] = {resource.plural: {} for resource, _ in _WATCHED}

    async def __aenter__(self) -> Self:
        for resource, read in _WATCHED:
            listed = _list.decode(await self._cluster.list(resource, self._namespace, limit=1))
            if listed.items:
                raise ValueError(f"namespace {self._namespace} has {resource.plural} already")
            self._tasks.append(asyncio.create_task(self._follow(resource, read, listed.metadata.resource_version)))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None):  # type: ignore[no-untyped-def]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def now(self) -> float:
        """Seconds since the record began."""
        return time.monotonic() - self._began

    def check(self) -> None:
        """Raise what ended a watch, if anything did."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def unread(self, seconds: float = 10.0) -> list[str]:
        """Return the objects that are not as the newest event of them says, after `seconds` of waiting for events.

        [] is the proof that the record is whole: what it ends with is what the API server has.
        """
        end = time.monotonic() + seconds
        while True:
            found = [name for resource, _ in _WATCHED for name in await self._unread(resource)]
            if not found or time.monotonic() > end:
                return found
            await asyncio.sleep(0.2)

    async def _unread(self, resource: Resource) -> list[str]:
        known, there, page = self._versions[resource.plural], dict[str, int](), ""
        while True:
            listed = _list.decode(await self._cluster.list(resource, self._namespace, continue_=page))
            there |= {one.metadata.name: int(one.metadata.resource_version) for one in listed.items}
            page = listed.metadata.continue_
            if not page:
                break
        different = sorted(name for name in known.keys() | there.keys() if known.get(name) != there.get(name))
        return [f"{resource.plural}/{name}" for name in different]

    async def _follow(self, resource: Resource, read: Read, version: str) -> None:
        while True:  # the API server ends a watch when it likes; the next one goes on behind the last event
            stream = self._cluster.watch(
                resource, self._namespace, resource_version=version, timeout_seconds=_WATCH_SECONDS
            )
            async for text in stream:
                if not text:
                    continue
                line = _line.decode(text)
                if line.type == "ERROR":
                    raise LostEventsError(f"{resource.plural}: {bytes(line.object).decode()}")
                if line.type == "BOOKMARK":
                    version = _object.decode(line.object).metadata.resource_version
                else:
                    version = self._take(resource, read(line.type, line.object, self.now), line.type == "DELETED")

    def _take(self, resource: Resource, fact: Fact, gone: bool) -> str:
        self.facts.append(fact)
        for kind, newest in ((PodFact, self.pods), (WorkloadFact, self.workloads), (JobFact, self.jobs)):
            if isinstance(fact, kind):
                newest[fact.name] = fact  # type: ignore[assignment]
                if gone:
                    del newest[fact.name]
        versions = self._versions[resource.plural]
        versions[fact.name] = fact.version
        if gone:
            del versions[fact.name]
        return str(fact.version)
