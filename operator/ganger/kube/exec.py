"""A command in a running container, with its three streams, its terminal and its exit code."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from msgspec import Struct

from ganger.kube.channels import V4, V5, Channels, Opens
from ganger.kube.errors import ApiError, Status, Unreachable, from_status

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)


class _Cause(Struct):
    reason: str = ""
    message: str = ""


class _Details(Struct):
    causes: list[_Cause] = []


class _End(Struct):
    status: str = ""
    reason: str = ""
    message: str = ""
    code: int = 0
    details: _Details | None = None


class Process:
    """A command that runs in a container. exit_code: known once `output` has ended; 128 + N after signal N."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self.exit_code: int | None = None

    async def write(self, data: bytes) -> None:
        """Send bytes to its standard input."""
        await self._channels.send(STDIN, data)

    async def end_input(self) -> bool:
        """Close its standard input. Returns whether that could be said: a cluster before 1.30 has no word for it."""
        await self._channels.close(STDIN)
        return self._channels.closes

    async def resize(self, columns: int, rows: int) -> None:
        """Say how big the terminal is."""
        await self._channels.send(RESIZE, msgspec.json.encode({"Width": columns, "Height": rows}))

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield STDOUT or STDERR and what was written there, until the command has ended.

        Raises ApiError where the command could not be started, and Unreachable where the connection was cut.
        """
        said = b""
        async for channel, data in self._channels.messages():
            if channel == ERROR:
                said += data
            elif channel in (STDOUT, STDERR) and data:
                yield channel, data
        self.exit_code = _exit_code(said)


@asynccontextmanager
async def run(
    streams: Opens, namespace: str, pod: str, container: str, command: Sequence[str], *, tty: bool, stdin: bool
) -> AsyncIterator[Process]:
    """Start a command in a container. tty: in a terminal of its own, where both outputs are one.

    It is not ended with the connection: the kubelet closes its streams, and a shell ends by that. Raises ApiError.
    """
    query: list[tuple[str, Any]] = [("container", container), ("stdout", "true")]
    query += [("stdin", "true")] if stdin else []
    query += [("tty", "true")] if tty else [("stderr", "true")]
    query += [("command", word) for word in command]
    async with streams.open(namespace, pod, "exec", query, (V5, V4)) as channels:
        yield Process(channels)


def _exit_code(said: bytes) -> int:
    """Return the exit code of what came in the error channel. Raises ApiError where that tells of no command."""
    try:
        end = msgspec.json.decode(said, type=_End)
    except msgspec.DecodeError as error:
        raise Unreachable("the connection to the container ended before the command did") from error
    if end.status == "Success":
        return 0
    for cause in end.details.causes if end.details is not None else ():
        if cause.reason == "ExitCode" and cause.message.isdecimal():
            return int(cause.message)
    raise _not_started(end)


def _not_started(end: _End) -> ApiError:
    return from_status(Status(kind="Status", code=end.code or 500, reason=end.reason, message=end.message))
