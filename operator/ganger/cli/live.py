"""Objects of the cluster as they change: list once, then watch. Never polls.

Each value is the whole present set, so a reader asks what is true now and can miss nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from ganger.api.types import TrainingJob
from ganger.cli import jobs
from ganger.cli.connection import Connection
from ganger.cli.problem import Code, Problem, doing
from ganger.kube.errors import ApiError, Gone, ServerError, Status, Throttled, Unreachable, from_status
from ganger.kube.resources import TRAINING_JOBS, Resource

T = TypeVar("T")
HERE: Final = "."  # no name of a namespace: the one of the connection
WATCH_SECONDS = 290  # shorter than the five minutes after which many proxies cut a connection
SILENCE_SECONDS = 15  # how long after that the end may be late, before the connection counts as dead
FAILURES_MAX = 6  # about half a minute: an API server restarts in less
_PASSING = (Unreachable, ServerError, Throttled, Gone, TimeoutError)


class _Line(Struct, frozen=True):
    type: str
    object: Raw


_LINE = msgspec.json.Decoder(_Line)
_STATUS = msgspec.json.Decoder(Status)


async def live(
    connection: Connection,
    resource: Resource,
    read: Callable[[Raw], T],
    *,
    label_selector: str = "",
    field_selector: str = "",
    namespace: str | None = HERE,
) -> AsyncIterator[Mapping[str, T]]:
    """Yield the objects of the selection by name, at once and after every change, for ever.

    read: makes an object of its JSON, such as `jobs.reader(Pod)`. namespace: None for all of them; the keys are then
    namespace/name.
    Short troubles of the API server are waited out. Raises ApiError when they last, or at once where they were there
    from the beginning.
    """
    where = connection.namespace if namespace == HERE else namespace
    objects: _Objects[T] = _Objects(read, by_namespace=where is None)
    failures, began = 0, False
    while True:
        try:
            found, version = await jobs.items(
                connection,
                resource,
                where,
                label_selector=label_selector,
                field_selector=field_selector,
            )
            objects.replace(found)
            failures, began = 0, True
            yield dict(objects.by_key)
            watch = connection.cluster.watch(
                resource,
                where,
                label_selector=label_selector,
                field_selector=field_selector,
                resource_version=version,
                timeout_seconds=WATCH_SECONDS,
            )
            async for line in _bounded(watch):
                if objects.take(line):
                    yield dict(objects.by_key)
        except _PASSING as error:
            failures += 1
            if not began or failures > FAILURES_MAX:
                if isinstance(error, ApiError):
                    raise
                raise Unreachable("the API server went silent") from error
            await asyncio.sleep(min(8.0, 0.25 * 2.0**failures))


async def _bounded(watch: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of a watch, and raise TimeoutError where its end is overdue."""
    overdue = asyncio.get_running_loop().time() + WATCH_SECONDS + SILENCE_SECONDS
    try:
        while True:
            # Around one line, never around the yield: a time-out cancels whatever the task does then, the reader too.
            async with asyncio.timeout_at(overdue):
                line = await anext(watch)
            yield line
    except StopAsyncIteration:
        return


class _Objects(Generic[T]):
    """The present set. read: makes an object of its JSON."""

    def __init__(self, read: Callable[[Raw], T], *, by_namespace: bool) -> None:
        self.by_key: dict[str, T] = {}
        self._read = read
        self._by_namespace = by_namespace

    def replace(self, found: Iterable[Raw]) -> None:
        """Take a whole list."""
        self.by_key = {self._key(item): self._read(item) for item in found}

    def take(self, line: bytes) -> bool:
        """Take one line of a watch and say whether it changed the set. Raises ApiError for an ERROR line."""
        try:
            event = _LINE.decode(line)
        except msgspec.DecodeError:
            return False  # a line cut short by the end of the stream; the next list has the whole
        if event.type == "ERROR":
            raise from_status(_STATUS.decode(event.object))
        if event.type == "BOOKMARK":
            return False
        key = self._key(event.object)
        if event.type == "DELETED":
            return self.by_key.pop(key, None) is not None
        self.by_key[key] = self._read(event.object)
        return True

    def _key(self, item: Raw) -> str:
        metadata = jobs.metadata_of(item)
        return f"{metadata.namespace}/{metadata.name}" if self._by_namespace else metadata.name


async def one_job(connection: Connection, name: str, *, uid: str = "") -> AsyncIterator[TrainingJob]:
    """Yield the job at once and after every change, until it is gone.

    uid: the job that is meant; a successor of the same name ends the series. Raises Problem where there is no such job.
    """
    known = uid
    with doing(f"watching job {name} in namespace {connection.namespace}"):
        async for found in live(
            connection, TRAINING_JOBS, jobs.reader(TrainingJob), field_selector=f"metadata.name={name}"
        ):
            job = found.get(name)
            if job is None and not known:
                raise Problem(
                    f"there is no job {name} in namespace {connection.namespace}",
                    "",
                    "'ganger list -A' shows the jobs of every namespace",
                    code=Code.NOT_FOUND,
                )
            if job is None or (known and job.metadata.uid != known):
                return
            known = job.metadata.uid
            yield job
