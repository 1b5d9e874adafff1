"""What happened in a namespace, from one watch that goes on whatever ends it, and what follows from it."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from ganger.kube.errors import ApiError
from ganger.kube.http import HttpCluster
from ganger.kube.resources import Resource

DONE = {"Complete", "Completed", "Succeeded"}  # a phase, or the condition of a Job, a JobSet, a TrainJob


class Condition(Struct, frozen=True):
    """What counts of a condition."""

    type: str = ""
    status: str = ""


class Status(Struct, frozen=True):
    """What counts of a status: of a pod, of a job of any kind."""

    phase: str = ""
    conditions: tuple[Condition, ...] = ()

    @property
    def state(self) -> str:
        """The phase, or `Complete` where a condition says so."""
        ended = any(one.type in DONE and one.status == "True" for one in self.conditions)
        return "Complete" if ended or self.phase in DONE else self.phase


class Meta(Struct, frozen=True, rename="camel"):
    """What counts of an object's metadata."""

    name: str = ""
    resource_version: str = ""
    deletion_timestamp: str = ""
    finalizers: tuple[str, ...] = ()


class Object(Struct, frozen=True):
    """An object, or what an error says of itself."""

    metadata: Meta = Meta()
    status: Status | str = ""  # a string in an error


class Event(Struct, frozen=True):
    """A line of a watch."""

    type: str
    object: Object


class Page(Struct, frozen=True):
    """A list."""

    metadata: Meta = Meta()
    items: tuple[Object, ...] = ()


class Fact(Struct, frozen=True):
    """One thing that was seen. at: seconds of `time.perf_counter`. state: "" while it has none, "Gone" once deleted."""

    at: float
    name: str
    state: str


EVENT = msgspec.json.Decoder(Event)
PAGE = msgspec.json.Decoder(Page)


class Watch:
    """All facts of one resource in one namespace since the watch was opened, in the order in which they came."""

    def __init__(self, cluster: HttpCluster, resource: Resource, namespace: str) -> None:
        self.facts: list[Fact] = []
        self.now: dict[str, str] = {}  # the state of what exists
        self._cluster, self._resource, self._namespace = cluster, resource, namespace
        self._counts: Counter[str] = Counter()
        self._changed = asyncio.Event()

    async def __aenter__(self) -> "Watch":
        version = await self._list()
        self._task = asyncio.create_task(self._run(version))
        self._task.add_done_callback(lambda _: self._changed.set())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def count(self, state: str) -> int:
        """How many are in that state now."""
        return self._counts[state]

    async def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Return once `condition` is true, looked at after each event. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():
                if self._task.done():
                    self._task.result()  # raises what ended it
                self._changed.clear()
                await self._changed.wait()

    async def _run(self, version: str) -> None:
        while True:
            with contextlib.suppress(ApiError):  # a server that is busy closes watches, and forgets old versions
                while version:
                    version = await self._follow(version)
            await asyncio.sleep(0.1)
            with contextlib.suppress(ApiError):
                version = await self._list()

    async def _follow(self, version: str) -> str:
        """Return where the stream ended; "" where the server has forgotten that version."""
        stream = self._cluster.watch(self._resource, self._namespace, resource_version=version, timeout_seconds=600)
        async for line in stream:
            if line:
                event = EVENT.decode(line)
                if event.type == "ERROR":
                    return ""
                version = event.object.metadata.resource_version
                if event.type != "BOOKMARK":
                    self._take(event.object, gone=event.type == "DELETED")
        return version

    async def _list(self) -> str:
        page = PAGE.decode(await self._cluster.list(self._resource, self._namespace, limit=0))
        there = {each.metadata.name for each in page.items}
        for name in [name for name in self.now if name not in there]:
            self._note(name, "Gone")
        for each in page.items:
            self._take(each, gone=False)
        return page.metadata.resource_version

    def _take(self, found: Object, *, gone: bool) -> None:
        state = found.status.state if isinstance(found.status, Status) else ""
        ending = found.metadata.deletion_timestamp and state not in {"Complete", "Failed"}
        self._note(found.metadata.name, "Gone" if gone else "Ending" if ending else state)

    def _note(self, name: str, state: str) -> None:
        before = self.now.get(name)
        if before != state:
            if before is not None:
                self._counts[before] -= 1
            self._counts[state] += 1
            self.facts.append(Fact(at=time.perf_counter(), name=name, state=state))
            if state == "Gone":
                self.now.pop(name, None)
            else:
                self.now[name] = state
            self._changed.set()


def seen(facts: Iterable[Fact]) -> dict[str, float]:
    """When each was first seen, whatever its state."""
    found: dict[str, float] = {}
    for fact in facts:
        if fact.state != "Gone":
            found.setdefault(fact.name, fact.at)
    return found


def reached(facts: Iterable[Fact], state: str) -> dict[str, float]:
    """When each was first seen in that state."""
    found: dict[str, float] = {}
    for fact in facts:
        if fact.state == state:
            found.setdefault(fact.name, fact.at)
    return found


class Recovery(Struct, frozen=True):
    """What followed a failure: seconds to the first new pod and to as many Running as before; new pods in all."""

    replacement: float | None
    whole: float | None
    made: int


def recovery(facts: Iterable[Fact], prefix: str, failed_at: float, pods: int) -> Recovery:
    """Return what followed the failure of one of the `pods` pods whose names begin with `prefix`."""
    running: set[str] = set()
    old: set[str] = set()
    new: dict[str, float] = {}
    whole: float | None = None
    for fact in facts:
        if not fact.name.startswith(prefix):
            continue
        if fact.at < failed_at:
            old.add(fact.name)
        elif fact.name not in old and fact.state != "Gone":
            new.setdefault(fact.name, fact.at)
        (running.add if fact.state == "Running" else running.discard)(fact.name)
        if new and whole is None and len(running) == pods:
            whole = fact.at
    first = min(new.values(), default=None)
    return Recovery(
        replacement=first - failed_at if first is not None else None,
        whole=whole - failed_at if whole is not None else None,
        made=len(new),
    )
