"""Where a watch gets its news: the job, its pods and its events, or all jobs. Never polls."""

import asyncio
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Raw

from ganger.api.observed import Metadata, Pod
from ganger.api.types import TrainingJob, decode
from ganger.cli import jobs
from ganger.cli.connection import Connection
from ganger.cli.live import HERE, live, one_job
from ganger.cli.problem import Code, Problem, doing, first
from ganger.cli.seen import CORE_EVENTS, Event
from ganger.cli.view import View
from ganger.contract import LABEL_JOB_UID
from ganger.kube.errors import Forbidden
from ganger.kube.resources import PODS, TRAINING_JOBS

News = Callable[[], None]
# A job of a newer operator cannot be read; that it is there is known all the same.
Fleet = Mapping[str, TrainingJob | Metadata]


async def job(connection: Connection, name: str, view: View, news: News) -> TrainingJob:
    """Keep the view true and call `news` after each change; return the job as it ended.

    Raises Problem where there is no such job, and when it is deleted before its end.
    """
    try:
        async with asyncio.TaskGroup() as group:
            others: list[asyncio.Task[None]] = []
            async for found in one_job(connection, name):
                view.take(found)
                news()
                if found.status.finished:
                    # Its last pods may have come and gone between two looks of the watch.
                    view.pods = {pod.metadata.name: pod for pod in await jobs.pods(connection, found)}
                    for task in others:
                        task.cancel()
                    return found
                if not others:
                    others.append(group.create_task(_pods(connection, found, view, news)))
                    others.append(group.create_task(_events(connection, name, view, news)))
            raise Problem(f"job {name} was deleted", "", "'ganger list' shows what is left", code=Code.NOT_FOUND)
    except ExceptionGroup as errors:
        raise first(errors) from errors


async def _pods(connection: Connection, owner: TrainingJob, view: View, news: News) -> None:
    with doing("watching the pods of the job"):
        async for pods in live(
            connection, PODS, jobs.reader(Pod), label_selector=f"{LABEL_JOB_UID}={owner.metadata.uid}"
        ):
            view.pods = pods
            news()


async def _events(connection: Connection, name: str, view: View, news: News) -> None:
    selector = f"involvedObject.kind=TrainingJob,involvedObject.name={name}"
    with doing("watching the events of the job"):
        try:
            async for events in live(connection, CORE_EVENTS, jobs.reader(Event), field_selector=selector):
                view.events = events
                news()
        except Forbidden:
            return  # who may read jobs may not always read events, and the screen is worth reading without them


async def fleet(
    connection: Connection, take: Callable[[Fleet], None], *, everywhere: bool = False, selector: str = ""
) -> None:
    """Call `take` with all jobs, at once and after every change, for ever. everywhere: of every namespace."""
    with doing("watching jobs"):
        where = None if everywhere else HERE
        async for found in live(connection, TRAINING_JOBS, _read, label_selector=selector, namespace=where):
            take(found)


def _read(item: Raw) -> TrainingJob | Metadata:
    try:
        return decode(item)
    except msgspec.ValidationError:
        return jobs.metadata_of(item)
