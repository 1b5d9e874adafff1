"""The log of one worker's pod as lines with their times, through cut connections without a gap or a repetition."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from msgspec import Struct

from ganger.api.observed import Pod
from ganger.cli.connection import Connection
from ganger.cli.lines import lines
from ganger.cli.problem import Code, Problem, from_api
from ganger.contract import CONTAINER
from ganger.kube.errors import ApiError, Gone, Invalid, NotFound, ServerError, Throttled, Unreachable
from ganger.plan.gang import is_over, worker_of

FAILURES_MAX = 8  # in a row; about half a minute
PAUSE_SECONDS = 0.5
_PASSING = (Unreachable, ServerError, Throttled, Gone)
_NANOSECONDS = 1_000_000_000


class Line(Struct, frozen=True, order=True):
    """One line of one worker. time: nanoseconds since 1970, 0 where the line has none. Ordered by time."""

    time: int
    worker: int
    text: str


class Range(Struct, frozen=True, kw_only=True):
    """Which part of a log is wanted. tail: only so many of the last lines. since: only later ones.

    previous: of the containers before the present ones, in the same pods.
    """

    tail: int | None = None
    since: datetime | None = None
    previous: bool = False


def has_begun(pod: Pod) -> bool:
    """Whether the trainer's container has run, so that there is a log."""
    states = (status.state for status in pod.status.container_statuses if status.name == CONTAINER)
    return any(state.running is not None or state.terminated is not None for state in states)


def has_restarted(pod: Pod) -> bool:
    """Whether the kubelet has started the trainer's container anew, so that there is a log of the one before."""
    return any(status.name == CONTAINER and status.restart_count for status in pod.status.container_statuses)


def split(text: str) -> tuple[int, str]:
    """Return time and rest of a line as the kubelet hands it out; time 0 where it begins with none."""
    stamp, _, rest = text.partition(" ")
    seconds, _, fraction = stamp.rstrip("Z").partition(".")
    if len(seconds) != len("2026-01-01T00:00:00") or not stamp.endswith("Z"):
        return 0, text
    try:
        whole = datetime.fromisoformat(seconds).replace(tzinfo=UTC)
        return int(whole.timestamp()) * _NANOSECONDS + int(f"{fraction:0<9.9}"), rest
    except ValueError:
        return 0, text


async def whole(connection: Connection, pod: Pod, wanted: Range) -> AsyncIterator[Line]:
    """Yield the lines that there are now. A pod without a log, or gone meanwhile, has none."""
    stream = connection.logs.stream(
        connection.namespace,
        pod.metadata.name,
        CONTAINER,
        tail=wanted.tail,
        since=wanted.since,
        previous=wanted.previous,
    )
    try:
        async for text in lines(stream):
            time, rest = split(text)
            yield Line(time, worker_of(pod), rest)
    except ApiError as error:
        if not _is_gone(error, pod) and not isinstance(error, Invalid):
            raise _problem(error, pod) from error


async def followed(
    connection: Connection, pod: Pod, wanted: Range, newest: Callable[[], Pod | None]
) -> AsyncIterator[Line]:
    """Yield the lines as they come, until the container has ended. newest: the pod as it is by now, None when gone."""
    last, failures, tail = 0, 0, wanted.tail
    while True:
        since = datetime.fromtimestamp(last // _NANOSECONDS, UTC) if last else wanted.since
        was_over = _ended(newest())
        try:
            stream = connection.logs.stream(
                connection.namespace, pod.metadata.name, CONTAINER, follow=True, tail=tail, since=since
            )
            async for text in lines(stream):
                time, rest = split(text)
                if time and time <= last:
                    continue  # `since` is cut to the second: these were told before the cut
                last, failures, tail = time or last, 0, None
                yield Line(time, worker_of(pod), rest)
            if was_over or _ended(newest()):
                return
        except ApiError as error:
            if _is_gone(error, pod) or (isinstance(error, Invalid) and _ended(newest())):
                return
            failures += not isinstance(error, Invalid)  # a container that is about to start is no failure
            if not isinstance(error, (*_PASSING, Invalid)) or failures > FAILURES_MAX:
                raise _problem(error, pod) from error
        await asyncio.sleep(min(8.0, PAUSE_SECONDS * 2.0**failures))


def _is_gone(error: ApiError, pod: Pod) -> bool:
    """Whether the pod itself is not there any more; a missing node is a 404 too."""
    return isinstance(error, NotFound) and pod.metadata.name in error.message


def _problem(error: ApiError, pod: Pod) -> Problem:
    found = from_api(error, f"reading the log of {pod.metadata.name}")
    if isinstance(error, NotFound | ServerError):
        fix = "the node of the pod may be gone or cut off: 'kubectl get nodes' and 'kubectl get pods -o wide' show it"
        return Problem(found.what, found.why, fix, code=Code.REFUSED)
    return found


def _ended(pod: Pod | None) -> bool:
    return pod is None or is_over(pod)
