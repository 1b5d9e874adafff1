"""Follow a job: what every worker of every attempt writes, as it comes, until the job is over."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from ganger.api.observed import Pod
from ganger.api.types import TrainingJob
from ganger.cli import jobs
from ganger.cli.connection import Connection
from ganger.cli.live import live, one_job
from ganger.cli.podlog import Range, followed, has_begun
from ganger.cli.problem import doing, first
from ganger.cli.sentence import sentence
from ganger.cli.session import Session
from ganger.cli.terminal import escape
from ganger.contract import LABEL_JOB_UID
from ganger.kube.resources import PODS
from ganger.plan.gang import attempt_of, worker_of

DRAIN_SECONDS = 10.0  # for the last lines of pods that have ended


class Sink(Protocol):
    """Where the lines go; `lines.Printer` writes them to the terminal."""

    def line(self, worker: int, text: str, time: int = 0) -> None:
        """Take one line. time: nanoseconds since 1970, 0 unknown."""
        ...


async def _at_once() -> None:
    return


class Follower:
    """Follows one job. worker: of one worker only, None for all. room: returns when the next line may come."""

    def __init__(
        self,
        session: Session,
        connection: Connection,
        printer: Sink,
        *,
        worker: int | None = None,
        wanted: Range | None = None,
        room: Callable[[], Awaitable[None]] = _at_once,
    ) -> None:
        self._session = session
        self._connection = connection
        self._printer = printer
        self._worker = worker
        self._wanted = wanted if wanted is not None else Range()
        self._room = room
        self._pods: Mapping[str, Pod] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by the UID of the pod
        self._attempt = -1
        self._watchers: list[asyncio.Task[None]] = []

    async def follow(self, name: str, *, uid: str = "") -> TrainingJob | None:
        """Print until the job is over and return it as it ended, None where it was deleted. Raises Problem."""
        try:
            async with asyncio.TaskGroup() as group:
                job = await self._until_over(group, name, uid)
                if job is not None and job.status.finished:
                    # Its last pods may have come and gone between two looks of the watch.
                    await self._look_again(group, job)
                await self._drain()
                for task in self._watchers:
                    task.cancel()
        except ExceptionGroup as errors:
            raise first(errors) from errors
        return job

    async def _until_over(self, group: asyncio.TaskGroup, name: str, uid: str) -> TrainingJob | None:
        told = ""
        async for job in one_job(self._connection, name, uid=uid):
            if not self._watchers:
                self._watchers.append(group.create_task(self._watch(group, job.metadata.uid)))
            if job.status.finished:
                return job
            now = f"{job.status.phase} {job.status.attempt} {job.spec.suspend}"
            if now != told:
                told = now
                self._session.terminal.message(escape(sentence(job, self._session.now())), "dim")
        return None

    async def _watch(self, group: asyncio.TaskGroup, uid: str) -> None:
        with doing("watching the pods of the job"):
            async for pods in live(self._connection, PODS, jobs.reader(Pod), label_selector=f"{LABEL_JOB_UID}={uid}"):
                self._take(group, pods)

    async def _look_again(self, group: asyncio.TaskGroup, job: TrainingJob) -> None:
        found = await jobs.pods(self._connection, job)
        self._take(group, {pod.metadata.name: pod for pod in found})

    def _take(self, group: asyncio.TaskGroup, pods: Mapping[str, Pod]) -> None:
        self._pods = pods
        for pod in sorted(pods.values(), key=lambda pod: (attempt_of(pod), worker_of(pod))):
            key = pod.metadata.uid
            if key in self._tasks or not has_begun(pod) or self._worker not in (None, worker_of(pod)):
                continue
            if attempt_of(pod) > self._attempt:
                self._attempt = attempt_of(pod)
                if self._attempt > 0:
                    self._session.terminal.message(f"--- attempt {self._attempt} ---", "bold")
            self._tasks[key] = group.create_task(self._print(pod))

    async def _print(self, pod: Pod) -> None:
        def newest() -> Pod | None:
            return self._pods.get(pod.metadata.name)

        async for line in followed(self._connection, pod, self._wanted, newest):
            self._printer.line(line.worker, line.text, line.time)
            await self._room()

    async def _drain(self) -> None:
        if self._tasks:
            _, late = await asyncio.wait(self._tasks.values(), timeout=DRAIN_SECONDS)
            for task in late:
                task.cancel()
