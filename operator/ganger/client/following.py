"""Logs of a job as values: those that there are, or all that come until the job is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime

from msgspec import Struct

from ganger.cli import jobs, logs
from ganger.cli.connection import Connection
from ganger.cli.follow import Follower
from ganger.cli.podlog import Line, Range, has_begun, whole
from ganger.cli.session import Session
from ganger.plan.gang import attempt_of, worker_of

AHEAD_MAX = 1000  # lines that may wait for a slow reader
_NANOSECONDS = 1_000_000_000


class LogLine(Struct, frozen=True):
    """One line that a worker wrote. time: when, in UTC, None where it is not known. text: as it was written."""

    worker: int
    text: str
    time: datetime | None = None


async def lines(
    connection: Connection,
    session: Session,
    name: str,
    *,
    follow: bool,
    worker: int | None,
    attempt: int | None,
    wanted: Range,
) -> AsyncIterator[LogLine]:
    """Yield the lines of all workers by the order of time; following, of later attempts too. Raises Problem."""
    job = await jobs.job(connection, name)
    chosen = logs.chosen_worker(job, worker, None)
    if follow:
        async for line in _followed(connection, session, name, job.metadata.uid, chosen, wanted):
            yield line
        return
    number = job.status.attempt if attempt is None else attempt
    pods = [
        pod
        for pod in await jobs.pods(connection, job)
        if attempt_of(pod) == number and chosen in (None, worker_of(pod)) and has_begun(pod)
    ]
    if not pods:
        raise logs.nothing(session, job, pods, number)
    async for found in logs.merged([whole(connection, pod, wanted) for pod in sorted(pods, key=worker_of)]):
        yield _typed(found)


class _Lines:
    """Takes the lines of a `Follower` for a reader who may be slower."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[LogLine | None] = asyncio.Queue()
        self._taken = asyncio.Event()

    def line(self, worker: int, text: str, time: int = 0) -> None:
        self.queue.put_nowait(_typed(Line(time, worker, text)))

    async def room(self) -> None:
        while self.queue.qsize() > AHEAD_MAX:
            self._taken.clear()
            await self._taken.wait()

    async def take(self) -> LogLine | None:
        found = await self.queue.get()
        self._taken.set()
        return found


async def _followed(
    connection: Connection, session: Session, name: str, uid: str, worker: int | None, wanted: Range
) -> AsyncIterator[LogLine]:
    found = _Lines()

    async def follow() -> None:
        try:
            follower = Follower(session, connection, found, worker=worker, wanted=wanted, room=found.room)
            await follower.follow(name, uid=uid)
        finally:
            found.queue.put_nowait(None)

    following = asyncio.create_task(follow())
    try:
        while (line := await found.take()) is not None:
            yield line
        await following
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([following])


def _typed(line: Line) -> LogLine:
    if not line.time:
        return LogLine(line.worker, line.text)
    moment = datetime.fromtimestamp(line.time // _NANOSECONDS, UTC)
    return LogLine(line.worker, line.text, moment.replace(microsecond=line.time % _NANOSECONDS // 1000))
