"""`ganger dev wait`: until a session runs or has ended; the exit code mirrors how it is."""

import asyncio

import click

from ganger.api.session import DevSession
from ganger.cli import arguments, sessions
from ganger.cli.connection import Connection
from ganger.cli.problem import Code, Problem
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape

GOALS = ("running", "ended")


def outcome(found: DevSession, goal: str) -> Code | None:
    """Return the exit code once the wait is over, or None while it goes on. Pure.

    One that ended by itself, its user or its clock has not failed; one that ended before it ran is no running one.
    """
    if goal == "running" and sessions.is_open(found):
        return Code.COMPLETE
    if not found.status.ended:
        return None
    return Code.COMPLETE if goal == "ended" and found.status.phase != "Failed" else Code.FAILED


async def until(connection: Connection, name: str, goal: str) -> tuple[DevSession, Code]:
    """Return the session once the wait is over, and the exit code. Raises Problem where it is not there (any more)."""
    async for found in sessions.changes(connection, name):
        code = outcome(found, goal)
        if code is not None:
            return found, code
    raise Problem(f"session {name} was deleted", "", "'ganger dev ls' shows what is left", code=Code.NOT_FOUND)


@click.command()
@arguments.session_name
@click.option("--for", "goal", type=click.Choice(GOALS), default="running", show_default=True, help="What to wait for.")
@click.option(
    "--timeout", type=arguments.Duration(), metavar="DURATION", help="Give up after, as in 30m. Default: never."
)
@arguments.on_cluster
@arguments.pass_session
def wait(session: Session, target: Target, name: str, goal: str, timeout: int | None) -> Code:
    """Wait for a session; the exit code mirrors how it is.

    \b
    Examples:
      ganger dev wait try --timeout 10m
      ganger dev wait try --for ended

    \b
    0    it is where it should be         1    it ended before, or failed
    3    there is no such session         4    the time is over
    5    the cluster refused or is away   130  Ctrl-C
    """

    async def body(connection: Connection) -> Code:
        try:
            async with asyncio.timeout(timeout):
                found, code = await until(connection, name, goal)
        except TimeoutError:
            fix = f"'ganger dev ls -o wide' tells what it waits for, 'ganger dev logs {name}' what it says"
            raise Problem(f"session {name} is not {goal} after {timeout} s", "", fix, code=Code.TIMEOUT) from None
        said = f": {found.status.message}" if found.status.message else ""
        session.terminal.data(escape(f"{name} is {sessions.phase(found).lower()}{said}"))
        return code

    return session.with_cluster(target, body)
