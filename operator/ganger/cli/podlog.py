"""The log of one worker's pod as lines with their times, through cut connections without a gap or a repetition."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from msgspec import Struct

from ganger.api.observed import Pod
from ganger.cli.connection import Connection
from ganger.cli.lines import lines
from ganger.cli.problem import doing, from_api
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
    """Which part of a log is wanted. tail: only so many of the last lines. since: only later ones."""

    tail: int | None = None
    since: datetime | None = None


def has_begun(pod: Pod) -> bool:
    """Whether the trainer's container has run, so that there is a log."""
    states = (status.state for status in pod.status.container_statuses if status.name == CONTAINER)
    return any(state.running is not None or state.terminated is not None for state in states)


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
        connection.namespace, pod.metadata.name, CONTAINER, tail=wanted.tail, since=wanted.since
    )
    with doing(f"reading the log of {pod.metadata.name}"):
        try:
            async for text in lines(stream):
                time, rest = split(text)
                yield Line(time, worker_of(pod), rest)
        except (NotFound, Invalid):
            return


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
        except NotFound:
            return
        except Invalid:
            if _ended(newest()):
                return
        except ApiError as error:
            failures += 1
            if not isinstance(error, _PASSING) or failures > FAILURES_MAX:
                raise from_api(error, f"reading the log of {pod.metadata.name}") from error
        await asyncio.sleep(min(8.0, PAUSE_SECONDS * 2.0**failures))


def _ended(pod: Pod | None) -> bool:
    return pod is None or is_over(pod)
