"""A command in a container, attached to this terminal: keys in, output out, its exit code at the end."""

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ganger.cli import stdio
from ganger.cli.connection import Connection
from ganger.cli.problem import Code, Problem, from_api
from ganger.cli.terminal import escape
from ganger.kube.errors import ApiError, ServerError, Unreachable

if TYPE_CHECKING:
    from ganger.kube.exec import Process

# The best shell that there is; it ends with its terminal.
SHELL = ("sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash -i || exec sh -i")


async def attached(connection: Connection, pod: str, container: str, command: Sequence[str]) -> int:
    """Run a command in a container and return its exit code. In a terminal where we have one. Raises Problem."""
    from ganger.kube import exec as kube_exec

    terminal = stdio.is_terminal()
    try:
        async with kube_exec.run(
            connection.streams, connection.namespace, pod, container, command, tty=terminal, stdin=True
        ) as process:
            with stdio.raw(terminal):
                await _converse(process, terminal=terminal)
    except Unreachable as error:
        why = "the connection to the container was cut; what runs there may go on"
        fix = "run the command again; 'kubectl get pods' shows whether the pod is still there"
        raise Problem(
            f"the way into {pod} is lost", f"{why} ({escape(error.message)})", fix, code=Code.REFUSED
        ) from error
    except ServerError as error:
        fix = "name a command that the image has, behind --"
        raise Problem(f"{command[0]} was not started in {pod}", escape(error.message), fix) from error
    except ApiError as error:
        raise from_api(error, f"entering {pod}") from error
    assert process.exit_code is not None, "its output has ended"
    return process.exit_code


async def _converse(process: "Process", *, terminal: bool) -> None:
    from ganger.kube.exec import STDERR

    changed = asyncio.Event()
    changed.set()
    others = [asyncio.create_task(_send(process))]
    if terminal:
        others.append(asyncio.create_task(_resize(process, changed)))
    try:
        with stdio.resized(changed.set) if terminal else contextlib.nullcontext():
            async for channel, data in process.output():
                stdio.write(data, to_stderr=channel == STDERR)
    finally:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _send(process: "Process") -> None:
    try:
        async for data in stdio.pieces(sys.stdin.fileno()):
            await process.write(data)
        await process.end_input()
    except Unreachable:
        return  # the command has ended; what it left is told by its output


async def _resize(process: "Process", changed: asyncio.Event) -> None:
    while True:
        await changed.wait()
        changed.clear()
        try:
            await process.resize(*stdio.size())
        except Unreachable:
            return
